"""Our variants are never worse with degenerate inputs, and the test detects one that is worse."""

import pytest
import torch

from lossbench.bench.cli import main
from lossbench.bench.measure.conformance import graded, measure_conformance
from lossbench.bench.measure.degenerate import DEGENERATE
from tests.conftest import name_of, supported

OURS = [i for i in supported() if i.variant in ("reference", "vectorized", "fused", "sparse")]
F32 = torch.float32


@pytest.mark.parametrize("implementation", OURS, ids=name_of)
def test_ours_are_never_worse_than_the_reference(implementation):
    found = measure_conformance(implementation.loss.name, implementation.variant, "cpu")
    assert [part.input for part in found] == list(DEGENERATE)
    assert [f"{part.input}: {part.reason}" for part in found if part.grade == "worse"] == []


def test_the_reference_shows_what_the_documents_do():
    behaviour = {
        (loss, part.input): part.reference
        for loss in ("sphereface", "contrastive_whole_batch", "triplet_batch_hard", "island")
        for part in measure_conformance(loss, "reference", "cpu")
    }
    assert behaviour["sphereface", "zero row"] == "not finite: grad.embeddings"
    assert behaviour["contrastive_whole_batch", "duplicates"] == "not finite: grad.x0, grad.x1"
    assert behaviour["triplet_batch_hard", "one class"] == "raises ValueError"
    assert behaviour["island", "zero class"].startswith("not finite: out.loss")
    assert behaviour["island", "x 1e3"] == "finite"


def test_a_library_that_is_worse_is_found_out():
    pytest.importorskip("pytorch_metric_learning")
    found = {p.input: p for p in measure_conformance("arcface_guarded", "pml", "cpu")}
    assert found["cosine 1"].grade == "worse"
    # Where the cosine rounds to 1 the gradient is not finite, and where it rounds to less, wrong.
    assert "grad.weight" in found["cosine 1"].reason


def result(loss, gradient=0.0):
    return {"out.loss": torch.tensor(loss), "grad.x": torch.tensor([gradient])}


NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "reference", "exact", "grade"),
    [
        (result(1.0), result(1.0), result(1.0), "same"),
        (result(1.0), result(NAN), result(NAN), "better"),
        (result(NAN), result(1.0), result(1.0), "worse"),
        (result(NAN), result(NAN), result(1.0), "same"),
        (result(1.0, NAN), result(1.0), result(1.0), "worse"),
        (result(1.0), result(1.0, NAN), result(1.0, NAN), "better"),
        (result(1.1), result(1.0), result(1.0), "worse"),
        (result(1.0), result(1.1), result(1.0), "better"),
        (result(1.1), result(1.1), result(1.0), "same"),
        ("raises ValueError", result(1.0), result(1.0), "worse"),
        (result(1.0), "raises ValueError", result(1.0), "better"),
        ("raises ValueError", "raises RuntimeError", "raises RuntimeError", "same"),
        ("raises ValueError", result(NAN), result(NAN), "same"),
    ],
)
def test_grades(given, reference, exact, grade):
    assert graded(given, reference, exact, F32, turned=reference, hides=False)[0] == grade


def test_what_the_reference_rounds_to_in_another_order_is_no_fault():
    off, lucky = result(1.0, 1.0001), result(1.0, 1.0)
    assert graded(off, lucky, lucky, F32, turned=lucky, hides=False)[0] == "worse"
    assert graded(off, lucky, lucky, F32, turned=off, hides=False)[0] == "same"


def test_a_finite_value_that_hides_a_nan_is_worse():
    lost = result(NAN)
    assert graded(result(1.0), lost, lost, F32, turned=lost, hides=True)[0] == "worse"


def test_the_command_prints_the_matrix(capsys):
    assert main(["conformance", "island", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    for name in DEGENERATE:
        assert name in out
    assert "vectorized" in out
    assert "arcface" not in out
