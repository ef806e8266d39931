"""The pytest-benchmark suites, run as a user runs them."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.utils.benchmark

import lossbench
from lossbench import impls
from lossbench.bench.measure.memory import Memory
from lossbench.bench.paths import ROOT
from lossbench.bench.timing.samples import Samples, Timing
from tests.bench.frame.test_frame import document
from tests.makers.records import record
from tests.perf.baseline import Baseline

SMALL = ("--batch", "8", "--dim", "4", "--classes", "3", "--benchmark-max-time", "0.01")
CASE = "8x4, C=3, cpu, gaussian"
# Read by every interpreter as it starts, that of the worker too.
PLANTED = """
import sys

if {"pytest", "--multiprocessing-fork"} & set(sys.orig_argv):
    from lossbench import impls
    from lossbench.impls.registry import register

    @register("center_mse", "planted")
    def planted(**arguments):
        module = impls.implementation("center_mse", "vectorized").builder(**arguments)
        module.register_forward_hook(lambda _, inputs, out: out._replace(loss=1.01 * out.loss))
        return module
"""


def pytest_run(*options, path=""):
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**kept, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    (folder / "sitecustomize.py").write_text(PLANTED)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory, planted):
    """Measure and save one loss that has a wrong variant."""
    folder = tmp_path_factory.mktemp("store")
    options = (
        "tests/perf", "--benchmark-enable", "-k", "center_mse", *SMALL, "--budget", "0.2",
        "--machine", "test", "--benchmark-storage", str(folder), "--benchmark-save", "first",
    )  # fmt: skip
    done = pytest_run(*options, path=planted)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.rglob("*.json")
    return done, path


def variants(loss):
    here = [i for i in impls.implementations(loss) if i.is_for("cpu")]
    return {i.variant for i in here if not i.mode and not i.requires}


def test_each_benchmark_keeps_what_a_table_of_times_cannot_show(saved):
    document = json.loads(saved[1].read_text())
    benchmarks = {each["params"]["variant"]: each for each in document["benchmarks"]}
    assert set(benchmarks) >= variants("center_mse")
    assert {each["group"] for each in benchmarks.values()} == {f"center_mse {CASE}"}
    for variant, each in benchmarks.items():
        seen = each["extra_info"]
        assert each["stats"]["rounds"] >= 5
        assert seen["step_speedup_low"] <= seen["step_speedup"] <= seen["step_speedup_high"]
        assert seen["verdict"] in ("faster", "slower", "same", "unclear", "reference")
        assert 0 <= seen["error"] < 1e-5
        assert seen["step_peak_bytes"] >= seen["saved_bytes"] > 0
        assert seen["operators"] > 0
        assert each["options"]["timer"] == torch.utils.benchmark.timer.__name__
        assert (seen["variant"], seen["loss"]) == (variant, "center_mse")


def test_a_file_tells_the_machine_and_the_environment_apart_from_its_conditions(saved):
    document = json.loads(saved[1].read_text())
    assert document["machine_info"]["machine"] == "test"
    assert document["machine_info"]["torch"]
    assert not {"commit", "dirty", "conditions"} & set(document["machine_info"])
    assert "load" in document["conditions"]


def test_what_was_saved_loads_into_a_tidy_frame(saved):
    frame = lossbench.load(saved[1].parent.parent)
    assert set(frame.source) == {"pytest-benchmark"}
    assert set(frame.machine) == {"test"}
    assert frame.commit.notna().all()
    assert set(frame.batch) == {8}
    assert (frame.step_seconds > 0).all()
    assert (frame.forward_seconds > 0).all()
    for row in frame[frame.variant == "reference"].itertuples():
        assert (row.step_speedup, row.verdict) == (1, "reference")


def test_a_variant_that_disagrees_is_skipped_with_its_reason(saved):
    assert re.search(r"SKIPPED .*refused: out\.loss is off by 1\.0e-02.*, at most", saved[0].stdout)
    assert "planted" not in set(lossbench.load(saved[1]).variant)


class Options(dict):
    """The part of pytest's configuration that a baseline needs."""

    getoption = dict.__getitem__


def held(earlier, timed, fail_on, processes=3):
    """Return the exit status and output of a session that is compared with an earlier one."""
    baseline = Baseline(Options(fail_on=fail_on, margin=0.05, processes=processes))
    baseline.pytest_benchmark_compare_machine_info(document(*earlier))
    baseline.pytest_sessionstart()
    baseline.timed += timed
    session = SimpleNamespace(exitstatus=pytest.ExitCode.OK)
    baseline.pytest_sessionfinish(session)
    told = []
    baseline.pytest_terminal_summary(SimpleNamespace(section=told.append, write_line=told.append))
    return session.exitstatus, "\n".join(told)


def timed(variant, seconds, processes=3, **changes):
    samples = Samples(tuple(seconds * (1 + 0.01 * (-1) ** i) for i in range(40)), (1.0,) * 40, 1)
    return record(variant=variant, step=Timing((samples,) * processes), **changes)


def test_a_ratio_that_fell_fails_where_it_is_asked_to():
    earlier = [timed("vectorized", 0.5), timed("fused", 0.5)]
    now = [timed("vectorized", 0.5), timed("fused", 0.6)]
    status, told = held(earlier, now, ["slower"])
    assert status == pytest.ExitCode.TESTS_FAILED
    assert re.search(r"slower, 1:.*fused +2x \[", told, re.DOTALL)
    assert held(earlier, now, ["bigger"])[0] == pytest.ExitCode.OK
    assert held(earlier, earlier, ["slower", "faster"])[0] == pytest.ExitCode.OK


def test_bytes_that_grew_fail_where_it_is_asked_to_and_nothing_else_has_vanished():
    earlier = [timed("vectorized", 0.5), timed("fused", 0.5)]
    status, told = held(earlier, [timed("fused", 0.5, memory=Memory(1, 2, 4, 4))], ["bigger"])
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "bigger, 1:" in told
    assert "vanished" not in told


def test_ratios_of_one_process_are_not_judged():
    earlier, now = [timed("fused", 0.5, processes=1)], [timed("fused", 0.9)]
    assert "slower" not in held(earlier, now, ["bigger"])[1].replace("slower or", "")
    for sides, processes in (((earlier, now), 3), ((now, now), 1)):
        with pytest.raises(pytest.UsageError, match="needs --processes 3 in both runs"):
            held(*sides, ["slower"], processes)


def test_a_baseline_of_other_cells_fails_what_was_to_be_gated():
    status, told = held([timed("vectorized", 0.5)], [timed("fused", 0.5)], ["slower"])
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "appeared" in told


@pytest.mark.slow
def test_a_session_is_held_against_a_saved_one(saved):
    """The saved file is changed, so that a variant saved almost nothing for its backward."""
    document = json.loads(saved[1].read_text())
    for each in document["benchmarks"]:
        each["extra_info"]["saved_bytes"] -= each["params"]["variant"] == "vectorized"
    earlier = saved[1].with_name("0002_earlier.json")
    earlier.write_text(json.dumps(document))
    done = pytest_run(
        "tests/perf", "--benchmark-enable", "-k", "center_mse and vectorized", *SMALL,
        "--machine", "test", "--benchmark-storage", str(earlier.parent.parent),
        "--benchmark-compare", "0002", "--fail-on", "bigger",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "(0002_earlier" in done.stdout
    assert "bigger, 1:" in done.stdout
    assert " passed" in done.stdout


def test_every_variant_of_every_loss_is_collected():
    done = pytest_run("tests/perf", "--collect-only", "-q", "--compiled", *SMALL)
    collected = set(re.findall(r"::test_step\[(.*)\]$", done.stdout, re.MULTILINE))
    assert collected == {
        f"{loss.name}-{implementation.variant}-{CASE}"
        for loss in impls.losses()
        for implementation in impls.implementations(loss.name)
        if implementation.is_for("cpu")
    }


def test_the_default_run_does_not_collect_them():
    # Only tests in folders below tests/ are left to find.
    rooms = [f"--ignore={ROOT}/tests/{room}" for room in ("bench", "house", "impls", "reference")]
    done = pytest_run("--collect-only", "-q", *rooms)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout + done.stderr


@pytest.mark.slow
def test_without_benchmarks_they_are_skipped_at_once():
    done = pytest_run("tests/perf", "-k", "center_mse", *SMALL)
    assert done.returncode == 0
    assert "benchmarks are disabled: --benchmark-enable runs them" in done.stdout
    assert "passed" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch", "0"), "argument --batch: expected 1 or more, got '0'"),
        (("--batch", "1"), "needs negatives: batch and classes of 2 or more"),
        (("--benchmark-compare", "--fail-on", "bigger"), "--fail-on needs an earlier run that"),
        (("--fail-on", "late"), "--fail-on: expected some of slower, faster"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_measured(tmp_path, options, message):
    storage = ("--benchmark-storage", str(tmp_path))
    done = pytest_run("tests/perf", "--benchmark-enable", *storage, *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
