"""The promises on the CPU are tested on CUDA; skipped without a CUDA device."""

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.measure.agreement import measure_agreement
from lossbench.bench.measure.judge import Times, measure_times
from lossbench.bench.measure.kernels import measure_kernels
from lossbench.bench.measure.memory import footprint, measure_memory
from lossbench.bench.selftest.public_cheaters import other_stream
from lossbench.bench.selftest.timed_cheaters import TIMED_LOSS
from lossbench.bench.timing.sampling import Sampling
from tests.conftest import name_of
from tests.makers.cheaters import cheater, reason_when_timed

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
ON_CUDA = [
    implementation
    for loss in impls.losses()
    for implementation in impls.implementations(loss.name)
    if implementation.is_for("cuda") and not implementation.mode
]
MIB = 2**20


def case_of(implementation, **sizes):
    sizes = {"batch": 24, "dim": 16, "classes": 6, "device": "cuda", **sizes}
    return Case(implementation.loss.name, **sizes)


@pytest.mark.parametrize("implementation", ON_CUDA, ids=name_of)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_agrees_with_the_oracle_on_the_cpu(implementation, dtype):
    reason = implementation.unsupported("cuda", getattr(torch, dtype))
    if reason or implementation.departs:
        pytest.skip(reason or implementation.departs)
    agreement = measure_agreement(case_of(implementation, dtype=dtype), implementation)
    assert not [str(part) for part in agreement if not part.passed]


@pytest.mark.parametrize(
    "implementation", [i for i in ON_CUDA if i.variant in ("vectorized", "fused")], ids=name_of
)
def test_a_step_waits_for_nothing(implementation):
    workload = Workload.of(case_of(implementation))
    module = workload.module(implementation)
    inputs = workload.leaves()
    workload.gradients(module(**inputs), [t for t in inputs.values() if t.requires_grad])
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = module(**inputs)
        workload.gradients(out, [t for t in inputs.values() if t.requires_grad])
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_planted_buffer_is_counted_to_the_byte():
    def call():
        kept = torch.empty(4 * MIB, dtype=torch.uint8, device="cuda")
        torch.empty(8 * MIB, dtype=torch.uint8, device="cuda")
        return kept

    seen = footprint(call, "cuda")
    assert (seen.peak_bytes, seen.live_bytes, seen.allocations) == (12 * MIB, 4 * MIB, 2)


def test_memory_and_times_are_measured():
    implementation = impls.implementation("arcface", "vectorized")
    case = case_of(implementation)
    assert measure_memory(case, implementation).step_peak_bytes > 0
    times = measure_times(case, ("reference", "vectorized"), Sampling(0.2))
    assert times["vectorized"].step.median_seconds > times["vectorized"].forward.median_seconds


def test_a_step_is_replayed_as_a_graph_and_compared():
    case = case_of(impls.implementation("arcface", "vectorized"))
    times = measure_times(case, ("reference", "vectorized"), Sampling(0.2), graphs=True)
    assert times["vectorized"].ungraphed == ""
    assert times["vectorized"].graphed.median_seconds < times["vectorized"].step.median_seconds


def test_work_that_is_not_ordered_with_the_current_stream_is_refused():
    case = Case(TIMED_LOSS, batch=256, dim=128, classes=1000, device="cuda")
    assert " is off by " in reason_when_timed(case, cheater(TIMED_LOSS, other_stream))


def test_results_that_a_graph_overwrites_are_compared_at_once():
    graphed = impls.implementation("arcface", "vectorized+compile[reduce-overhead]")
    reason = graphed.unsupported("cuda", torch.float32)
    if reason:
        pytest.skip(reason)
    case = case_of(graphed)
    assert not [str(part) for part in measure_agreement(case, graphed) if not part.passed]
    times = measure_times(case, ("reference", graphed.variant), Sampling(0.2))
    assert isinstance(times[graphed.variant], Times)


def test_what_tuning_chose_is_told_with_the_times():
    variant = impls.implementation("arcface", "triton")
    reason = variant.unsupported("cuda", torch.float32)
    if reason:
        pytest.skip(reason)
    case = case_of(variant, batch=64, dim=64, classes=1000)
    (chosen,) = measure_times(case, ("reference", "triton"), Sampling(0.2))["triton"].configurations
    assert set(chosen) <= {kernel.name for kernel in measure_kernels(case, variant)}
    assert all(configuration["num_warps"] > 0 for configuration in chosen.values())
