"""The matrix is printed, kept in a file, shown by the report, and asked by the choice."""

import pytest

from lossbench.bench.choose.request import Request, admitted
from lossbench.bench.cli import main
from lossbench.bench.report import write_report
from lossbench.bench.training_loop import fitness
from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
from lossbench.bench.training_loop.matrix import (
    TRAINING_FILE,
    TrainingMatrix,
    TrainingRow,
    load_matrix,
)
from lossbench.bench.training_loop.situation import LoopFinding
from tests.bench.run.test_records import ENVIRONMENT
from tests.makers.choices import ARC, HEADS, ask


def row(variant, loss="arcface", **worse):
    """Return a row that is right everywhere but where it is said to be worse."""
    findings = (
        LoopFinding(name, "worse", worse[name]) if name in worse else LoopFinding(name, "right")
        for name in LOOP_SITUATIONS
    )
    return TrainingRow(loss, variant, variant, variant == "pml", tuple(findings))


def matrix(*rows):
    return TrainingMatrix(ENVIRONMENT, "2026-01-02T03:04:05+00:00", rows)


def test_the_command_prints_and_writes_the_matrix(tmp_path, capsys):
    file = tmp_path / TRAINING_FILE
    assert main(["conformance", "vector_distance", "--training", "--out", str(file)]) == 0
    out = capsys.readouterr().out
    for name in LOOP_SITUATIONS:
        assert name in out
    assert "fused: limit in torch.func: refused by torch" in out
    assert "limit, 0 worse" in out
    kept = load_matrix(file)
    assert kept.losses == ["vector_distance"]
    assert {each.variant for each in kept.rows} >= {"reference", "vectorized", "fused", "torch"}
    assert kept.counts(foreign=False)["worse"] == 0


def test_what_makes_no_sense_is_refused(refused, tmp_path):
    assert "--training" in refused("conformance", "island", "--out", str(tmp_path / "x"))
    assert "CPU" in refused("conformance", "island", "--training", "--device", "cuda")


def test_a_file_that_is_no_matrix_is_refused(tmp_path):
    file = tmp_path / TRAINING_FILE
    with pytest.raises(ValueError, match="expected a training matrix"):
        load_matrix(file)
    file.write_text("{}")
    with pytest.raises(ValueError, match="expected a training matrix"):
        load_matrix(file)


def test_a_report_shows_the_matrix_beside_its_runs(runs, tmp_path):
    file = runs[0] / TRAINING_FILE
    file.write_text(matrix(row("pml", DDP="RuntimeError: <no>"), row("fused")).to_json())
    try:
        page = write_report(runs[:1], tmp_path / "report").read_text()
    finally:
        file.unlink()
    assert '<section id="training"' in page
    assert "RuntimeError: &lt;no&gt;" in page


def test_a_choice_leaves_out_what_declares_a_limit():
    found = ask(HEADS, ARC, needs=("double-backward",), compiled=True)
    assert found.best.variant == "vectorized"
    reasons = {each.variant: each.reason for each in found.excluded}
    assert reasons["fused"].startswith("not fit for double-backward: refused")
    assert "compiled code" in reasons["vectorized+compile"]


def test_a_choice_leaves_out_what_was_found_to_fail(monkeypatch):
    there = {"here": matrix(row("vectorized", DDP="RuntimeError: no"))}
    monkeypatch.setattr(fitness, "shipped_matrices", lambda: there)
    candidates = [ask(HEADS, ARC).best, *(r.candidate for r in ask(HEADS, ARC).runners_up)]
    left, refused = admitted(Request(ARC, needs=("ddp",)), candidates)
    assert {each.variant for each in left} == {"reference", "fused"}
    assert refused["vectorized"] == "not fit for ddp: DDP: RuntimeError: no"


def test_a_need_that_nothing_meets_says_why(refused):
    line = refused(
        *("choose", "center_all_pairs", "--needs", "no such thing"),
        *("--machine", "2-core-epyc"),
    )
    assert "has no output 'no such thing'; it has: loss" in line
    assert "double-backward" in line
