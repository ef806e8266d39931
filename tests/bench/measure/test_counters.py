"""The operators of a step are counted exactly, and the same in every run."""

import shutil

import pytest
from torch import nn

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.cli import main
from lossbench.bench.errors import UsageError
from lossbench.bench.measure.counters import count_instructions, measure_counters

CASE = Case("center_mse", batch=8, dim=4, classes=3)
HONEST = impls.implementation("center_mse", "vectorized")


def counted(change):
    """Return the counts of the honest implementation after a change of its loss."""

    class Changed(HONEST.builder):
        def forward(self, embeddings, labels):
            out = super().forward(embeddings, labels)
            return out._replace(loss=change(out.loss))

    builder: type[nn.Module] = Changed
    return measure_counters(CASE, impls.Implementation(HONEST.loss, "changed", builder))


def test_a_step_is_counted_the_same_at_every_run():
    assert measure_counters(CASE, HONEST) == measure_counters(CASE, HONEST)


def test_an_operator_more_is_counted_with_its_backward():
    plain, doubled = counted(lambda loss: loss), counted(lambda loss: loss * 2)
    assert doubled.operators > plain.operators
    assert doubled.synchronisations == plain.synchronisations == 0


def test_a_value_that_is_read_back_is_a_wait():
    assert counted(lambda loss: loss * float(loss.detach())).synchronisations == 1


def test_a_result_whose_size_depends_on_values_is_a_wait():
    assert counted(lambda loss: loss + 0 * loss.detach().nonzero().sum()).synchronisations == 1


def test_count_shows_every_variant(capsys):
    assert main(["count", "triplet_batch_hard", "--batch", "16", "--dim", "8"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {line[0]: line[1:] for line in lines}
    eager = [
        implementation.variant
        for implementation in impls.implementations("triplet_batch_hard")
        if not implementation.mode and implementation.is_for("cpu")
    ]
    assert set(rows) >= set(eager)
    operators, waits = int(rows["reference"][0]), int(rows["reference"][1])
    assert operators > int(rows["fused"][0])
    assert waits > int(rows["fused"][1]) == 0


def test_without_valgrind_that_is_told(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(UsageError, match="valgrind, which is not installed"):
        count_instructions(CASE, "vectorized")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions_are_the_same_at_every_run():
    first, second = (count_instructions(CASE, "vectorized") for _ in range(2))
    assert first == pytest.approx(second, rel=5e-3)
