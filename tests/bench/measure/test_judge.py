"""One function decides for all callers whether an implementation may be timed."""

from dataclasses import replace

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.agreement import expectations
from lossbench.bench.measure.judge import judge, judge_variant
from lossbench.bench.measure.oracle import oracle_of

CASE = Case("arcface", batch=12, dim=8, classes=5)
FUSED = impls.implementation("arcface", "fused")


class Off(impls.loss("arcface").reference):
    """A loss that is 1% too large."""

    def forward(self, embeddings, labels):
        out = super().forward(embeddings, labels)
        return out._replace(loss=1.01 * out.loss)


WRONG = replace(FUSED, variant="wrong", builder=Off)


def test_what_agrees_passes_and_is_weighed():
    found = judge(CASE, FUSED)
    assert (found.status, found.reason) == ("passed", "")
    assert all(part.passed for part in found.agreement)
    assert found.memory.step_peak_bytes > 0
    assert found.counters.operators > 0


def test_what_disagrees_is_refused_and_not_weighed():
    found = judge(CASE, WRONG)
    assert found.status == "refused"
    assert "out.loss is off by" in found.reason
    assert (found.memory, found.counters) == (None, None)


def test_what_departs_is_compared_and_weighed_and_not_refused():
    found = judge(CASE, replace(WRONG, departs="it is 1% too large"))
    assert (found.status, found.reason) == ("departs", "it is 1% too large")
    assert not all(part.passed for part in found.agreement)
    assert found.memory is not None


def test_what_cannot_run_is_not_tried():
    found = judge(CASE, replace(WRONG, dtypes=(torch.float64,)))
    assert (found.status, found.reason) == ("unsupported", "takes torch.float64, not torch.float32")
    assert found.agreement == ()


def test_another_tree_has_a_reference_of_its_own():
    assert judge(CASE, WRONG, Off).status == "passed"
    assert judge(CASE, FUSED, Off).status == "refused"


def test_without_a_comparison_it_is_weighed_alone():
    found = judge(CASE, WRONG, compare=False)
    assert (found.status, found.agreement) == ("passed", ())
    assert found.memory is not None


@pytest.mark.parametrize("variant", ["reference", "fused"])
def test_the_run_also_learns_what_it_does_with_degenerate_inputs(variant):
    found = judge_variant(CASE, variant)
    assert found.status == "passed"
    assert found.conformance


@pytest.fixture
def no_room(monkeypatch):
    """Leave no memory for the whole matrices of a reference."""

    def forget():
        oracle_of.cache_clear()
        expectations.cache_clear()

    monkeypatch.setattr("lossbench.bench.measure.oracle.available_memory", lambda: 1000)
    forget()
    yield
    forget()


@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize("case", [Case("triplet_batch_hard", 40, 16, 4), CASE], ids=str)
@pytest.mark.parametrize("variant", ["reference", "vectorized", "fused"])
def test_tiles_are_compared_with_where_no_reference_fits_into_memory(case, variant):
    found = judge(case, impls.implementation(case.loss, variant))
    assert (found.status, found.oracle) == ("passed", "fused")
    compared = {part.quantity for part in found.agreement}
    assert {"out.loss", "grad.embeddings"} <= compared
    assert "out.logits" not in compared


@pytest.mark.usefixtures("no_room")
def test_tiles_refuse_what_disagrees():
    assert judge(CASE, WRONG).status == "refused"


def test_the_reference_is_compared_with_where_it_fits():
    assert judge(CASE, FUSED).oracle == "reference"
    largest = Case("triplet_batch_hard", 65_536, 128, 1000)
    assert oracle_of(largest, memory_bytes=2**39).variant == "fused"
    assert oracle_of(largest, memory_bytes=2**40).variant == "reference"
    assert oracle_of(Case("center", 65_536, 128, 1000), memory_bytes=1).variant == "reference"
