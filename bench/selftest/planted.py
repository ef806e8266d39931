"""Make a pair to compare: the reference's step, and a copy that is slower by a known share."""

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
    """Two steps of one Case, with a module each, on the same inputs.

    Attributes:
        calls: steps by name, ``reference`` and ``copy``.
        resets: functions that reset a module to its initial state, by the same names.
    """

    calls: Mapping[str, Callable[[], object]]
    resets: Mapping[str, Callable[[], None]]


def planted_pair(case: Case, effect: float) -> Pair:
    """Return the reference's step, and a copy that takes ``1 + effect`` times as long.

    If the effect is 0, both are the plain step. Otherwise both are wrapped in ``slowed``, the
    reference with a slowdown of 0, so that they differ only in the effect.
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
    """Return a call that computes, then spins for ``effect`` times the time of the computation.

    On CUDA it waits for the device before it reads the clock. Otherwise the CPU would spin while
    kernels still run, and the call would not get slower.
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
    """Return the copy's times paired with the reference's, sampled as in a run."""
    pair = planted_pair(case, effect)
    return interleave(pair.calls, REFERENCE, sampling, pair.resets, case.device)[COPY]
