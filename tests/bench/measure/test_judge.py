"""One function decides for all callers whether an implementation may be timed."""

from dataclasses import replace

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.judge import judge, judge_variant

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
