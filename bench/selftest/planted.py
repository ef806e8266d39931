"""A pair to tell apart: the reference's step, and a copy of it that is slower by a known share."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from lossbench import impls
from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.agreement import workload_of
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling, interleave
from lossbench.impls.registry import REFERENCE

COPY = "copy"


@dataclass(frozen=True)
class Pair:
    """Two steps of one Case, each of a module of its own, on one copy of the inputs.

    Attributes:
        calls: the steps, ``reference`` and ``copy``.
        resets: by the same names, what puts a module back into its initial state.
    """

    calls: Mapping[str, Callable[[], object]]
    resets: Mapping[str, Callable[[], None]]


def planted_pair(case: Case, effect: float) -> Pair:
    """Return the reference's step, and a copy of which each call takes ``1 + effect`` as long.

    Without an effect both are the bare step. With one both go through ``slowed``, the reference by
    nothing, so that they differ in the effect alone.
    """
    workload = workload_of(case)
    inputs = workload.leaves()
    calls: dict[str, Callable[[], object]] = {}
    resets: dict[str, Callable[[], None]] = {}
    for name, slowdown in ((REFERENCE, 0.0), (COPY, effect)):
        module = workload.module(impls.implementation(case.loss, REFERENCE))
        ready = prepare_calls(workload, module, inputs)
        calls[name] = slowed(ready.step, slowdown, case.device) if effect else ready.step
        resets[name] = ready.reset
    return Pair(calls, resets)


def slowed(call: Callable[[], object], effect: float, device: str) -> Callable[[], object]:
    """Return a call that spins, after it has computed, for ``effect`` times what that took.

    On CUDA it waits for the device before it reads the clock, since a spinning processor would
    otherwise hide behind kernels that are still at work.
    """

    def run() -> object:
        start = time.perf_counter()
        result = call()
        if device == "cuda":
            torch.cuda.synchronize()
        end = time.perf_counter()
        until = end + effect * (end - start)
        while time.perf_counter() < until:
            pass
        return result

    return run


def measure_pair(case: Case, effect: float, sampling: Sampling) -> Timing:
    """Return the copy's times beside the reference's, as the product takes them."""
    pair = planted_pair(case, effect)
    return interleave(pair.calls, REFERENCE, sampling, pair.resets, case.device)[COPY]
