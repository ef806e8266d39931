"""A cell of asv is measured once for all its figures, or skipped with a reason."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lossbench import impls
from lossbench.bench.paths import ROOT
from lossbench.bench.suites import cell, compiled, eager
from lossbench.bench.suites.cell import AsvCell
from lossbench.bench.suites.suite import EAGER_METRICS

pytest.importorskip("asv")
from asv_runner.benchmarks.mark import SkipNotImplemented

SMALL = ("float32", 128, 1000, "cpu", 64)
FUSED = AsvCell("arcface", "fused", *SMALL)
FIGURES = sorted(metric.asv_name for metric in EAGER_METRICS)
# An old commit, which has a reference and a vectorized variant of each loss.
OLD = "26988c8"


@pytest.fixture(autouse=True)
def _folder_of_asvs_own(tmp_path, monkeypatch):
    """Change to a folder in which nothing was measured yet."""
    monkeypatch.chdir(tmp_path)


def test_one_measurement_answers_for_every_figure(monkeypatch):
    measured = []
    whole = cell.measure_cell
    monkeypatch.setattr(cell, "measure_cell", lambda c: measured.append(c) or whole(c))
    suite = eager.arcface()

    found = {name: getattr(suite, f"track_{name}")("fused", *SMALL) for name in FIGURES}

    assert measured == [FUSED]
    step, forward, ratio = (
        found[name]["samples"] for name in ("step_seconds", "forward_seconds", "step_ratio")
    )
    assert min(step) > 0
    assert min(forward) > 0
    assert len(step) == len(ratio) >= 6
    assert len({*step, *forward, *ratio}) > len(step) + len(forward)
    # Twice the weight at the least: its gradient, and the weight normalised.
    assert found["step_peak_bytes"] >= 4 * 128 * 1000
    assert 0 < found["saved_bytes"] <= found["step_peak_bytes"]
    assert 0 < found["error"] < 1e-5

    again = suite.track_step_seconds("fused", *SMALL)

    assert measured == [FUSED, FUSED], "the next round is measured in a process of its own"
    assert again["samples"] != step


def test_bytes_grow_with_the_batch():
    small, large = (
        cell.metric_of(replace(FUSED, batch=batch), "step_peak_bytes") for batch in (64, 256)
    )
    assert small < large


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
    for metric in set(FIGURES) - {"error"}:
        assert_skips(FUSED, "out.loss is off by", capsys, metric)


def install(folder):
    """Make a folder look as if pip had installed lossbench in it."""
    (folder / "lossbench-0.dist-info").mkdir()
    (folder / "lossbench-0.dist-info" / "METADATA").write_text("Name: lossbench\nVersion: 0\n")


def measure_beside(installed, variant):
    """Return the figures of a cell, by this tree's harness and a folder's installed lossbench."""
    code = (
        f"import sys; sys.path.append({str(installed)!r})\n"
        "from bench.suites.cell import AsvCell, measure_cell\n"
        f"found = measure_cell(AsvCell('arcface', {variant!r}, 'float32', 128, 1000, 'cpu', 64))\n"
        "import json, lossbench.bench.case, lossbench.impls\n"
        "files = [lossbench.impls.__file__, lossbench.bench.case.__file__]\n"
        "print(json.dumps([files, found.reason, sorted(found.values)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (subject, harness), reason, metrics = json.loads(done.stdout.splitlines()[-1])
    assert not Path(subject).is_relative_to(ROOT)
    assert Path(harness).is_relative_to(ROOT)
    return reason, metrics


def test_a_commit_without_the_api_is_skipped(tmp_path):
    install(tmp_path)
    for package in ("lossbench", "lossbench/impls"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    reason, metrics = measure_beside(tmp_path, "fused")
    assert "this commit lacks what the harness needs" in reason
    assert metrics == []


def test_the_installed_implementations_are_measured_by_the_tree_s_harness(tmp_path):
    install(tmp_path)
    for room in ("impls", "reference"):
        shutil.copytree(ROOT / room, tmp_path / "lossbench" / room)
    (tmp_path / "lossbench" / "__init__.py").touch()
    assert measure_beside(tmp_path, "vectorized") == ("", FIGURES)


def test_an_old_commit_is_measured_in_what_it_has(tmp_path):
    archive = subprocess.run(
        ["git", "archive", OLD, "impls", "reference"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the clone has no commit {OLD}")
    subprocess.run(["tar", "x"], cwd=tmp_path, input=archive.stdout, check=True)
    install(tmp_path)
    reason, metrics = measure_beside(tmp_path, "vectorized")
    assert reason == ""
    assert metrics == FIGURES
    assert measure_beside(tmp_path, "fused") == ("arcface has no variant fused at this commit", [])
