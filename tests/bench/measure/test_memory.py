"""Memory is counted to the byte, and the same in every run."""

import gc

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.memory import (
    footprint,
    footprints,
    measure_kept_bytes,
    measure_memory,
)
from tests.conftest import name_of, supported

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


SHELF: dict[tuple[int, ...], torch.Tensor] = {}
EXTRA = 4567


def on_the_module(module, _x):
    module.__dict__.setdefault("workspace", torch.empty(EXTRA, dtype=torch.uint8))


def anywhere_by_size(_module, x):
    SHELF.setdefault(x.shape, torch.empty(EXTRA, dtype=torch.uint8))


def last_result(module, _x):
    module.__dict__["last"] = torch.empty(EXTRA, dtype=torch.uint8)


def more_at_each_step(module, _x):
    module.__dict__.setdefault("all", []).append(torch.empty(EXTRA, dtype=torch.uint8))


def in_a_cycle(_module, _x):
    cycle = [torch.empty(EXTRA, dtype=torch.uint8)]
    cycle.append(cycle)


def new_state(module, _x):
    module.centers.data = module.centers.data.clone()


@pytest.mark.parametrize(
    ("keep", "copies"),
    [
        (on_the_module, 1),
        (anywhere_by_size, 1),
        (last_result, 1),
        (more_at_each_step, 2),
        (in_a_cycle, 0),
        (new_state, 0),
    ],
)
def test_what_a_module_keeps_is_counted_to_the_byte(keep, copies):
    honest = impls.implementation("center_mse", "vectorized")

    class Keeps(honest.builder):
        def forward(self, embeddings, labels):
            keep(self, embeddings)
            return super().forward(embeddings, labels)

    SHELF.clear()
    keeper = impls.Implementation(honest.loss, "keeper", Keeps)
    assert measure_kept_bytes(CASE, keeper) == copies * EXTRA
    SHELF.clear()
    assert measure_memory(CASE, keeper).kept_bytes == copies * EXTRA


# The library keeps the coefficients of its margin.
KEPT = {"sphereface-pml": 48}


@pytest.mark.parametrize("implementation", supported(), ids=name_of)
def test_a_variant_keeps_nothing_between_steps_but_what_is_known(implementation):
    case = Case(implementation.loss.name, batch=24, dim=16, classes=10)
    expected = KEPT.get(name_of(implementation), 0)
    assert measure_kept_bytes(case, implementation) == expected
