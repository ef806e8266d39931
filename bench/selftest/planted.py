"""Make a pair to compare: the reference's step, and a copy that is slower by a known share."""

import time
from collections.abc import Callable

import torch

from lossbench import impls
from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.feed import Feed
from lossbench.bench.measure.agreement import workload_of
from lossbench.bench.timing.clock import Timed
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling, interleave
from lossbench.impls.registry import REFERENCE

COPY = "copy"


def planted_pair(case: Case, effect: float) -> dict[str, Timed]:
    """Return the reference's step, and a copy that takes ``1 + effect`` times as long, by name.

    If the effect is 0, both are the plain step. Otherwise both are wrapped in ``slowed``, the
    reference with a slowdown of 0, so that they differ only in the effect.
    """
    workload = workload_of(case)
    feed = Feed(workload)
    pair = {}
    for name, slowdown in ((REFERENCE, 0.0), (COPY, effect)):
        calls = prepare_calls(workload.module(impls.implementation(case.loss, REFERENCE)), feed)
        step = slowed(calls.step, slowdown, case.device) if effect else calls.step
        pair[name] = Timed(step, calls.prepare)
    return pair


def slowed(call: Callable[[], object], effect: float, device: str) -> Callable[[], object]:
    """Return a call that computes, then spins for ``effect`` times the time of the computation.

    On the CPU it counts processor time. If it counted the time on the wall, a call that is
    interrupted by another process would spin for the interruption too, and be slower by far more
    than ``effect`` on a busy machine. On CUDA it waits for the device before it reads the clock:
    otherwise the CPU would spin while kernels still run, and the call would not get slower.
    """
    now = time.perf_counter if device == "cuda" else time.thread_time

    def run() -> object:
        start = now()
        result = call()
        if device == "cuda":
            torch.cuda.synchronize()
        end = now()
        until = end + effect * (end - start)
        while now() < until:
            pass
        return result

    return run


def measure_pair(case: Case, effect: float, sampling: Sampling) -> Timing:
    """Return the copy's times paired with the reference's, sampled as in a run."""
    return interleave(planted_pair(case, effect), REFERENCE, sampling, case.device)[COPY]
