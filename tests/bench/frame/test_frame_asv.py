"""Rows of asv's results: from a real asv run, from failures, and from damaged files."""

import json
import os
import subprocess
import sys

import pytest

import lossbench
from lossbench.bench.errors import UsageError
from lossbench.bench.frame import asv
from lossbench.bench.paths import RESULTS, ROOT

pytest.importorskip("asv")
from asv.util import load_json


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of a real asv run over three cells of this tree."""
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
    run("lossbench.bench.suites.machine", "here", cwd=ROOT)
    chosen = r"eager\.softmax\.track_.*'(reference|fused|liger)', .*'cpu', 64\)"
    run(
        "asv", "run", "--machine", "here", "-E", f"existing:{sys.executable}", "-b", chosen,
        "--set-commit-hash", "HEAD", "-a", "rounds=1",
    )  # fmt: skip
    return folder / "results"


def test_a_run_of_asv_loads_as_rows(results):
    frame = lossbench.load(results).set_index("variant")
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    # liger is skipped, because it is not installed or takes no CPU tensors.
    assert set(frame.index) == {"reference", "fused"}
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
    assert frame.step_speedup["fused"] > 0
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
    frame = lossbench.load(tmp_path).set_index(["loss", "variant"])
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
    assert lossbench.load(tmp_path).step_speedup.to_list() == [2.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [('{"commit_hash": ', "damaged; expected results of asv"), ("{}", "commit_hash: Field")],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, text, says):
    path = write_results(tmp_path, {})
    path.write_text(text)
    with pytest.raises(UsageError, match=says):
        lossbench.load(path)


def test_every_figure_of_the_kept_history_has_a_column():
    kept = load_json(str(RESULTS / "asv" / "benchmarks.json"))
    functions = {name.split(".")[-1] for name in kept if name.startswith(asv.SUITES)}
    assert functions == set(asv.BENCHMARKS)
    frame = lossbench.load(RESULTS / "asv")
    passed = frame[frame.status == "passed"]
    assert passed.step_peak_bytes.notna().all()
    assert passed.groupby("commit").step_peak_bytes.count().min() > 0
