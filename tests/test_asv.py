import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bench
import impls
from bench.errors import UsageError
from bench.suites import cell, compiled, eager, package
from bench.suites.cell import Cell
from bench.suites.parameters import (
    COMPILED,
    COMPILED_BY_DEFAULT,
    DEVICES,
    EAGER,
    MODES,
    RETIRED,
)

pytest.importorskip("asv")
from asv.util import load_json
from asv_runner.benchmarks.mark import SkipNotImplemented
from asv_runner.discovery import disc_benchmarks

ROOT = Path(__file__).parent.parent
SMALL = ("float32", 128, 1000, "cpu", 64)
FUSED = Cell("arcface", "fused", *SMALL)
UNITS = {
    "step_seconds": "seconds",
    "forward_seconds": "seconds",
    "step_ratio": "ratio",
    "peak_bytes": "bytes",
    "saved_bytes": "bytes",
    "error": "relative error",
    "compile_seconds": "seconds",
}
# Of the commits that first had a reference and a vectorized variant of each loss.
OLD = "26988c8"


@pytest.fixture(autouse=True)
def _folder_of_asvs_own(tmp_path, monkeypatch):
    """In which nothing is measured yet; on one thread, whatever else the machine does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def benchmarks():
    return {benchmark.name: benchmark for benchmark in disc_benchmarks(str(ROOT / "bench"))}


def registered():
    return {
        (loss.name, implementation.variant)
        for loss in impls.losses()
        for implementation in impls.implementations(loss.name)
    }


def listed():
    yield from ((loss, variant) for loss, variants in EAGER.items() for variant in variants)
    for loss, variants in COMPILED.items():
        yield from ((loss, variant + mode) for variant in variants for mode in MODES)


def test_the_lists_are_the_registry():
    names = list(listed())
    assert len(names) == len(set(names))
    assert registered() - set(names) == set(), "add these to bench/suites/parameters.py"
    assert set(names) - registered() == RETIRED, "add these to RETIRED, their series go on"
    assert set(names) >= COMPILED_BY_DEFAULT


def test_asv_finds_a_benchmark_for_each_and_no_other(benchmarks):
    found = set()
    for name, benchmark in benchmarks.items():
        if name == "suites.package.track_import_seconds":
            continue
        _, kind, loss, function = name.split(".")
        metric = function.removeprefix("track_")
        assert benchmark.unit == UNITS[metric]
        assert kind == "compiled" or metric != "compile_seconds"
        variants, *_, devices, _ = benchmark._params
        assert tuple(devices) == DEVICES
        found |= {(loss, variant, metric) for variant in variants}
    expected = {
        (loss, variant, metric)
        for loss, variant in listed()
        for metric in UNITS
        if "+compile" in variant or metric != "compile_seconds"
    }
    assert found == expected


def test_no_benchmark_leaves_its_version_or_its_number_of_calls_to_asv(benchmarks):
    for benchmark in benchmarks.values():
        assert benchmark.version == "1"
        assert benchmark.type == "track"
        assert not benchmark._setups


def test_benchmarks_share_one_folder(benchmarks):
    keys = {b.setup_cache_key for name, b in benchmarks.items() if "package" not in name}
    assert len(keys) == 1
    assert None not in keys


def test_one_measurement_answers_for_every_figure(monkeypatch):
    measured = []
    whole = cell.measure_cell
    monkeypatch.setattr(cell, "measure_cell", lambda c: measured.append(c) or whole(c))
    suite = eager.arcface()

    found = {
        name: getattr(suite, f"track_{name}")("fused", *SMALL)
        for name in sorted(UNITS)
        if name != "compile_seconds"
    }

    assert measured == [FUSED]
    step, forward, ratio = (
        found[name]["samples"] for name in ("step_seconds", "forward_seconds", "step_ratio")
    )
    assert min(step) > 0
    assert min(forward) > 0
    assert len(step) == len(ratio) >= 6
    assert len({*step, *forward, *ratio}) > len(step) + len(forward)
    # Twice the weight at the least: its gradient, and the weight normalised.
    assert found["peak_bytes"] >= 4 * 128 * 1000
    assert 0 < found["saved_bytes"] <= found["peak_bytes"]
    assert 0 < found["error"] < 1e-5

    again = suite.track_step_seconds("fused", *SMALL)

    assert measured == [FUSED, FUSED], "the next round is measured in a process of its own"
    assert again["samples"] != step


def test_bytes_grow_with_the_batch():
    small, large = (
        cell.metric_of(replace(FUSED, batch=batch), "peak_bytes") for batch in (64, 256)
    )
    assert small < large


def test_the_import_is_timed_in_fresh_processes(monkeypatch):
    monkeypatch.setattr(package, "PROCESSES", 2)
    first, second = package.track_import_seconds()["samples"]
    assert first != second
    assert min(first, second) > 0


def test_a_commit_that_cannot_be_imported_is_skipped(tmp_path, monkeypatch, capsys):
    broken = tmp_path / "impls" / "__init__.py"
    broken.parent.mkdir()
    broken.write_text("raise ImportError('no such thing')")
    found = importlib.util.spec_from_file_location("impls", broken)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    with pytest.raises(SkipNotImplemented):
        package.track_import_seconds()
    assert "cannot be imported: ImportError: no such thing" in capsys.readouterr().out


@pytest.mark.slow
def test_compiling_is_timed_beside_what_it_is_for(monkeypatch):
    monkeypatch.setenv("LOSSBENCH_COMPILED", "all")
    suite, parameters = compiled.center_mse(), ("vectorized+compile", *SMALL)
    assert suite.track_compile_seconds(*parameters) > 0
    assert min(suite.track_step_ratio(*parameters)["samples"]) > 0


def assert_skips(asked, reason, capsys, metric="step_seconds"):
    with pytest.raises(SkipNotImplemented):
        cell.metric_of(asked, metric)
    assert reason in capsys.readouterr().out


def test_what_this_commit_does_not_have_is_skipped(capsys):
    assert_skips(replace(FUSED, variant="tiled"), "arcface has no variant tiled", capsys)
    assert_skips(replace(FUSED, loss="circle"), "this commit has no loss circle", capsys)


def test_a_machine_without_cuda_skips(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert_skips(replace(FUSED, device="cuda"), "there is no CUDA device", capsys)


def test_what_fails_fails_once(capsys, monkeypatch):
    def fail(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(cell, "_measure", fail)
    with pytest.raises(RuntimeError, match="broken"):
        cell.metric_of(FUSED, "error")
    assert_skips(FUSED, "an earlier attempt failed", capsys)


def test_a_departing_variant_is_skipped(capsys):
    asked = replace(FUSED, variant="pml")
    assert_skips(asked, impls.implementation("arcface", "pml").departs, capsys, "error")


def test_the_reference_has_no_ratio(capsys, monkeypatch):
    monkeypatch.setattr(cell, "measure_cell", pytest.fail)
    assert_skips(replace(FUSED, variant="reference"), "the reference itself", capsys, "step_ratio")


def test_what_takes_its_time_to_compile_waits_to_be_asked_for(capsys, monkeypatch):
    asked = replace(FUSED, variant="vectorized+compile[max-autotune]")
    assert_skips(asked, "LOSSBENCH_COMPILED=all", capsys)
    asked.path.unlink()
    monkeypatch.setenv("LOSSBENCH_COMPILED", "all")
    monkeypatch.setattr(cell, "_measure", lambda *_: cell.Findings({"step_seconds": 3.0}))
    assert cell.metric_of(asked, "step_seconds") == 3.0


def test_what_disagrees_has_an_error_and_no_times(capsys, monkeypatch):
    class Off(impls.loss("arcface").reference):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            return out._replace(loss=1.01 * out.loss)

    right = impls.implementation("arcface", "fused")
    wrong = replace(right, variant="fused", builder=Off)
    monkeypatch.setattr(impls, "implementations", lambda _: (wrong,))

    assert cell.metric_of(FUSED, "error") == pytest.approx(0.01, rel=0.2)
    for metric in ("step_seconds", "forward_seconds", "step_ratio", "peak_bytes", "saved_bytes"):
        assert_skips(FUSED, "out.loss is off by", capsys, metric)


def measure_beside(impls_folder, variant):
    """Return what this harness finds of a cell in a process that has other impls."""
    code = (
        "from bench.suites.cell import Cell, measure_cell\n"
        f"found = measure_cell(Cell('arcface', {variant!r}, 'float32', 128, 1000, 'cpu', 64))\n"
        "import impls, json\n"
        "print(json.dumps([impls.__file__, found.reason, sorted(found.values)]))"
    )
    environment = {**os.environ, "PYTHONPATH": f"{impls_folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=impls_folder, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    file, reason, metrics = json.loads(done.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(impls_folder)
    return reason, metrics


def test_a_commit_without_the_api_is_skipped(tmp_path):
    (tmp_path / "impls").mkdir()
    (tmp_path / "impls" / "__init__.py").write_text("")
    reason, metrics = measure_beside(tmp_path, "fused")
    assert "this commit lacks what the harness measures" in reason
    assert metrics == []


def test_an_old_commit_is_measured_in_what_it_has(tmp_path):
    archive = subprocess.run(
        ["git", "archive", OLD, "impls", "reference"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the clone has no commit {OLD}")
    subprocess.run(["tar", "x"], cwd=tmp_path, input=archive.stdout, check=True)
    reason, metrics = measure_beside(tmp_path, "vectorized")
    assert reason == ""
    assert metrics == sorted(set(UNITS) - {"compile_seconds"})
    assert measure_beside(tmp_path, "fused") == ("arcface has no variant fused at this commit", [])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder that a run of asv itself leaves, over three cells of this tree."""
    folder = tmp_path_factory.mktemp("asv")
    settings = load_json(str(ROOT / "asv.conf.json"), js_comments=True)
    settings |= {
        "repo": str(ROOT),
        "benchmark_dir": str(ROOT / "bench"),
        "results_dir": "results",
        "env_dir": "env",
    }
    (folder / "asv.conf.json").write_text(json.dumps({"version": 1, **settings}))
    environment = {**os.environ, "HOME": str(folder), "ASV_PYTHONPATH": str(ROOT)}

    def run(*arguments, cwd=folder):
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    if not (ROOT / ".git").exists():
        pytest.skip("asv records the commit of a clone")
    run("bench.suites.machine", "here", cwd=ROOT)
    chosen = r"eager\.softmax\.track_.*'(reference|torch|liger)', .*'cpu', 64\)"
    run(
        "asv", "run", "--machine", "here", "-E", f"existing:{sys.executable}", "-b", chosen,
        "--set-commit-hash", "HEAD", "-a", "rounds=1",
    )  # fmt: skip
    return folder / "results"


def test_a_run_of_asv_loads_as_rows(results):
    frame = bench.load(results).set_index("variant")
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    # liger is not installed, or takes no CPU tensors.
    assert set(frame.index) == {"reference", "torch"}
    assert set(frame.source) == {"asv"}
    assert set(frame.machine) == {"here"}
    assert frame.cpu.notna().all()
    assert set(frame.commit) == {head}
    assert set(frame.status) == {"passed"}
    assert (frame.loss == "softmax").all()
    assert (frame[["batch", "dim", "classes"]] == [64, 128, 1000]).all(axis=None)
    assert (frame.device == "cpu").all()
    assert (frame.data == "gaussian").all()
    assert (frame.made.dt.year >= 2024).all()
    times = frame[["forward_seconds", "step_seconds"]]
    assert ((times > 0) & (times < 1)).all(axis=None)
    assert (frame[["step_peak_bytes", "saved_bytes"]] > 0).all(axis=None)
    assert (frame.error < 1e-5).all()
    assert frame.verdict["reference"] == "reference"
    assert frame.step_speedup["torch"] > 0
    assert frame.step_speedup.isna()["reference"]


def write_results(folder, results):
    (folder / "here").mkdir()
    (folder / "here" / "machine.json").write_text("{}")
    path = folder / "here" / "abcdef12-existing.json"
    columns = ["result", "params", "version", "started_at"]
    path.write_text(
        json.dumps(
            {
                "commit_hash": "abcdef12" * 5,
                "params": {"machine": "here", "cpu": "a CPU", "torch": "2.13.0"},
                "result_columns": columns,
                "results": results,
            }
        )
    )
    return path


PLACES = [["'reference'", "'fused'"], ["'float32'"], ["128"], ["1000"], ["'cpu'"], ["64"]]


def test_what_failed_and_what_was_refused_say_so(tmp_path):
    seconds = [2e-3, float("nan")]
    write_results(
        tmp_path,
        {
            "suites.eager.arcface.track_error": [[1e-7, 0.1], PLACES, "1", 1_700_000_000_000],
            "suites.eager.arcface.track_step_seconds": [seconds, PLACES, "1", 1_700_000_001_000],
            "suites.eager.island.track_error": [None, PLACES, "1", 1_700_000_000_000],
            "suites.package.track_import_seconds": [[0.1], [], "1", 1_700_000_000_000],
        },
    )
    frame = bench.load(tmp_path).set_index(["loss", "variant"])
    assert frame.status.to_dict() == {
        ("arcface", "reference"): "passed",
        ("arcface", "fused"): "refused",
        ("island", "reference"): "failed",
        ("island", "fused"): "failed",
    }
    assert frame.step_seconds["arcface", "reference"] == 2e-3
    assert frame.step_seconds.isna()["arcface", "fused"]
    assert str(frame.made["arcface", "reference"]) == "2023-11-14 22:13:21+00:00"
    assert set(frame.torch) == {"2.13.0"}


def test_a_ratio_to_the_reference_becomes_a_speed_up(tmp_path):
    values = [[float("nan"), 0.5], PLACES, "1", 1_700_000_000_000]
    write_results(tmp_path, {"suites.eager.arcface.track_step_ratio": values})
    assert bench.load(tmp_path).step_speedup.to_list() == [2.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [('{"commit_hash": ', "damaged; expected results of asv"), ("{}", "commit_hash: Field")],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, text, says):
    path = write_results(tmp_path, {})
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        bench.load(path)
