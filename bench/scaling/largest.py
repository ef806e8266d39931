"""Find the largest batch that fits into memory: predict it from counted bytes, then try it.

The bytes of inputs, parameters and a step's peak are fitted by ``c0 + c1 B + c2 B²`` with
non-negative coefficients. Blocks and tiles make the curve of a fused variant piecewise, so small
batches mislead, and only the three largest counted batches are fitted. Batches are counted until
they take more than half of the memory, if time allows, so that the extrapolation is short.

A trial is one real step under a cap (``capped``). Its memory beyond the tensors is not part of the
prediction: packing buffers of matrix products, stacks of new threads, the allocator's pages and
fragments.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.machine.quotas import available_memory
from lossbench.bench.machine.worker import Failure, Lost, Worker
from lossbench.bench.scaling.capped import step_within
from lossbench.bench.scaling.laws import Scaling
from lossbench.bench.scaling.sweep import Sweeper

FITTED_BATCHES = 3
# The inputs are made outside the cap, and other processes need memory too, so not all is used.
FREE_SHARE = 0.8
# Counting runs four steps under a profiler, which may make them several times slower, so a step
# to count must be short against the timeout.
COUNTING_SHARE = 1 / 20
UPWARDS = (1.02, 1.05, 1.1, 1.25, 1.5, 2.0)
DOWNWARDS = (0.98, 0.95, 0.9, 0.8, 0.65, 0.5)


@dataclass(frozen=True)
class SizeTrial:
    """One real step, tried within the memory.

    Attributes:
        batch: batch size B.
        status: ``ran``, or the kind of failure.
        reason: reason of the failure.
    """

    batch: int
    status: Literal["ran"] | Failure
    reason: str = ""

    @property
    def fits(self) -> bool | None:
        """Whether the memory sufficed; ``None`` if the trial failed for another reason."""
        return {"ran": True, "oom": False, "crashed": False}.get(self.status)


@dataclass(frozen=True)
class LargestBatch:
    """The largest batch of a variant, predicted and tried.

    Attributes:
        variant: name of the variant.
        memory_bytes: memory for inputs, parameters and a step.
        counted: total bytes of every counted batch.
        coefficients: ``c0, c1, c2`` of the bytes as a polynomial in B.
        predicted: largest batch by the polynomial; 0 if none fits.
        trials: tried steps, in order.
        reason: reason why nothing was tried.
    """

    variant: str
    memory_bytes: int
    counted: dict[int, int]
    coefficients: tuple[float, float, float]
    predicted: int
    trials: tuple[SizeTrial, ...]
    reason: str = ""

    @property
    def ran(self) -> int | None:
        """The largest batch that ran."""
        return max((trial.batch for trial in self.trials if trial.fits), default=None)

    @property
    def did_not(self) -> int | None:
        """The smallest batch for which the memory was too small."""
        return min((trial.batch for trial in self.trials if trial.fits is False), default=None)


def fit_bytes(counted: Mapping[int, int]) -> tuple[float, float, float]:
    """Return ``c0, c1, c2``, fitted by relative error to the bytes of the largest batches."""
    from scipy.optimize import nnls

    batches = np.array(sorted(counted)[-FITTED_BATCHES:], dtype=float)
    totals = np.array([counted[int(batch)] for batch in batches], dtype=float)
    # Batches are divided by the largest one, so that the three columns have the same magnitude.
    powers = (batches / batches[-1])[:, None] ** np.arange(3)
    shares, _residual = nnls(powers / totals[:, None], np.ones(len(totals)))
    c0, c1, c2 = shares / batches[-1] ** np.arange(3)
    return float(c0), float(c1), float(c2)


def largest_within(coefficients: tuple[float, float, float], memory_bytes: int) -> int:
    """Return the largest B with ``c0 + c1 B + c2 B²`` within the memory; 0 if there is none."""
    c0, c1, c2 = coefficients
    room = memory_bytes - c0
    if room <= 0:
        return 0
    # This form of the root also works for c2 = 0.
    return math.floor(2 * room / (c1 + math.sqrt(c1 * c1 + 4 * c2 * room)))


def free_memory(device: str) -> int:
    """Return the default memory of a device, in bytes: four fifths of what is free."""
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else available_memory()
    return int(FREE_SHARE * free)


def find_largest(
    sweeper: Sweeper, fresh: Worker, centre: Case, scaling: Scaling, memory_bytes: int
) -> LargestBatch:
    """Predict and try the largest batch of a variant.

    Args:
        sweeper: sweeper to count bytes with.
        fresh: worker that runs nothing but the trials.
        centre: the case that gives all sizes but the batch.
        scaling: scaling of the variant along the batch, with a law of its step time.
        memory_bytes: memory for inputs, parameters and a step.
    """
    counted = _count_towards(sweeper, centre, scaling, memory_bytes)
    coefficients = fit_bytes(counted)
    predicted = largest_within(coefficients, memory_bytes)
    reason = _untried(scaling, predicted, sweeper.timeout_seconds)

    def attempt(batch: int) -> SizeTrial:
        sweeper.tell(f"{scaling.variant}: trying B={batch}")
        case, timeout = replace(centre, batch=batch), sweeper.timeout_seconds
        try:
            fresh.ask(timeout, step_within, case, scaling.variant, memory_bytes)
        except Lost as lost:
            return SizeTrial(batch, lost.status, str(lost))
        return SizeTrial(batch, "ran")

    trials = () if reason else tuple(enclose(attempt, predicted))
    return LargestBatch(
        scaling.variant, memory_bytes, counted, coefficients, predicted, trials, reason
    )


def _count_towards(
    sweeper: Sweeper, centre: Case, scaling: Scaling, memory_bytes: int
) -> dict[int, int]:
    """Return the total bytes by batch, for the batches of the sweep and for doubled ones beyond."""
    counted = {point.size: point.counted.total_bytes for point in scaling.points}
    longest = COUNTING_SHARE * sweeper.timeout_seconds
    while 2 * counted[max(counted)] <= memory_bytes:
        batch = 2 * max(counted)
        if _estimated_seconds(scaling, batch) > longest:
            break
        try:
            found = sweeper.count(replace(centre, batch=batch), scaling.variant)
        except Lost:
            break
        counted[batch] = found.total_bytes
    return counted


def _estimated_seconds(scaling: Scaling, batch: int) -> float:
    """Return the estimated time of a step, extrapolated from the last point by the power law."""
    point, law = scaling.points[-1], scaling.laws["step_seconds"]
    return float(point.step_seconds * (batch / point.size) ** law.exponent)


def _untried(scaling: Scaling, predicted: int, timeout_seconds: float) -> str:
    """Return the reason why a predicted batch is not tried; empty if it can be tried."""
    if predicted < 2:
        return "not tried: not even a batch of 2 is predicted to fit"
    seconds = _estimated_seconds(scaling, predicted)
    if seconds > timeout_seconds:
        return (
            f"not tried: a step would take about {seconds:.0f} s, "
            f"and --timeout is {timeout_seconds:.0f} s"
        )
    return ""


def enclose(attempt: Callable[[int], SizeTrial], predicted: int) -> Iterator[SizeTrial]:
    """Yield trials from the predicted batch outwards, until the limit lies between two of them.

    A trial that shows nothing about memory, because it timed out or failed otherwise, is the last.
    """
    first = attempt(predicted)
    yield first
    if first.fits is None:
        return
    for factor in UPWARDS if first.fits else DOWNWARDS:
        trial = attempt(round(factor * predicted))
        yield trial
        if trial.fits != first.fits:
            return
