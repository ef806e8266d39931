"""Memory is counted to the byte, and the same in every run."""

import gc

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.memory import (
    Memory,
    footprint,
    footprints,
    measure_kept_bytes,
    measure_memory,
)

CASE = Case("center_mse", batch=32, dim=16, classes=10)
MIB = 2**20


def test_a_planted_buffer_is_counted_to_the_byte():
    def call():
        kept = torch.empty(3 * MIB, dtype=torch.uint8)
        torch.empty(5 * MIB, dtype=torch.uint8)
        torch.empty(1 * MIB, dtype=torch.uint8)
        return kept

    seen = footprint(call, "cpu")
    assert (seen.peak_bytes, seen.live_bytes, seen.allocations) == (8 * MIB, 3 * MIB, 3)


def test_no_garbage_is_collected_while_bytes_are_counted():
    collecting = []
    footprint(lambda: collecting.append(gc.isenabled()), "cpu")
    assert collecting == [False]
    assert gc.isenabled()


def test_the_peak_of_a_second_call_counts_what_the_first_keeps_and_it_releases():
    def first(_):
        return [torch.empty(3 * MIB, dtype=torch.uint8), torch.empty(2 * MIB, dtype=torch.uint8)]

    def second(kept):
        kept.pop(0)
        return torch.empty(4 * MIB, dtype=torch.uint8)

    one, two = footprints((first, second), "cpu")
    assert (one.peak_bytes, one.live_bytes, one.allocations) == (5 * MIB, 5 * MIB, 2)
    assert (two.peak_bytes, two.live_bytes, two.allocations) == (6 * MIB, 6 * MIB, 1)


def test_what_was_there_before_is_not_counted():
    before = torch.zeros(MIB)
    assert 4 <= footprint(before.sum, "cpu").peak_bytes < 64


def hoarding(extra):
    """An implementation that saves two buffers of a given number of floats for its backward."""
    honest = impls.implementation("center_mse", "vectorized")

    class Hoards(honest.builder):
        def forward(self, embeddings, labels):
            ballast = torch.ones(extra, requires_grad=True)
            out = super().forward(embeddings, labels)
            # exp saves its result, and the graph saves its leaf.
            return out._replace(loss=out.loss + 0 * ballast.exp().sum())

    return impls.Implementation(honest.loss, "hoarding", Hoards)


@pytest.mark.parametrize("extra", [1, 123, 4567])
def test_a_planted_saved_tensor_is_counted_to_the_byte(extra):
    more, less = measure_memory(CASE, hoarding(extra)), measure_memory(CASE, hoarding(0))
    assert more.saved_bytes - less.saved_bytes == 2 * 4 * extra


def test_the_reference_holds_what_it_must():
    case = Case("softmax", batch=32, dim=16, classes=10)
    seen = measure_memory(case, impls.implementation("softmax", "reference"))
    logits, gradients = 4 * 32 * 10, 4 * (32 * 16 + 16 * 10)
    # The log-softmax, the loss and the sum of the samples' weights; the logits are freed.
    assert seen.saved_bytes == logits + 4 + 4
    assert seen.step_peak_bytes >= logits + gradients
    assert seen.forward_peak_bytes >= 2 * logits
    assert seen.allocations >= 6


def test_two_runs_count_the_same():
    implementation = impls.implementation("triplet_batch_hard", "reference")
    case = Case("triplet_batch_hard", batch=16, dim=8, classes=4)
    assert measure_memory(case, implementation) == measure_memory(case, implementation)


def keeping(make):
    """An implementation whose modules keep what ``make`` gives for its inputs, in a place of it."""
    honest = impls.implementation("center_mse", "vectorized")

    class Keeps(honest.builder):
        def forward(self, embeddings, labels):
            make(self, embeddings)
            return super().forward(embeddings, labels)

    return impls.Implementation(honest.loss, "keeping", Keeps)


def workspace(module, embeddings):
    if getattr(module, "workspace", None) is None:
        module.workspace = embeddings.new_empty(len(embeddings), 7)


ELSEWHERE = {}


def by_size(_module, embeddings):
    ELSEWHERE.setdefault(len(embeddings), embeddings.new_empty(len(embeddings), 5))


def rebound(module, _embeddings):
    module.centers.data = module.centers.data.clone()


@pytest.mark.parametrize(
    ("make", "kept"),
    [(lambda *_: None, 0), (workspace, 4 * 32 * 7), (by_size, 4 * 32 * 5), (rebound, 0)],
    ids=["nothing", "a workspace", "a cache outside of the module", "rebound parameters"],
)
def test_what_is_kept_between_calls_is_counted_to_the_byte(make, kept):
    ELSEWHERE.clear()
    assert measure_kept_bytes(CASE, keeping(make)) == kept


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_no_eager_variant_of_ours_keeps_anything(loss):
    case = Case(loss, batch=32, dim=16, classes=10)
    for each in impls.implementations(loss):
        # A third party may keep what it likes.
        if each.requires or each.compiled or each.unsupported("cpu", case.held_dtype):
            continue
        assert measure_kept_bytes(case, each) == 0, each.variant


def test_records_from_before_have_no_kept_bytes():
    assert Memory(1, 2, 3, 4).kept_bytes is None
