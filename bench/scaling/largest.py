"""The largest batch that fits a memory: predicted from counted bytes, then tried.

The bytes of inputs, parameters and a step's peak are fitted by ``c0 + c1 B + c2 B²`` with
non-negative coefficients, over the three largest batches counted: blocks and tiles make the curve
of a fused variant piecewise, and its beginning misleads. Batches are counted until they take more
than half of the memory, where time allows, so that the extrapolation is a short one.

A trial is one real step under a cap (``capped``). What it takes beyond the tensors is
not in the prediction: packing buffers of matrix products, stacks of new threads, the allocator's
pages and fragments.
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
# Of the free memory: the inputs are made outside of the cap, and others want to live.
FREE_SHARE = 0.8
# Counting takes four steps under a profiler, which may slow them down several times.
COUNTING_SHARE = 1 / 20
UPWARDS = (1.02, 1.05, 1.1, 1.25, 1.5, 2.0)
DOWNWARDS = (0.98, 0.95, 0.9, 0.8, 0.65, 0.5)


@dataclass(frozen=True)
class SizeTrial:
    """One step really taken, or not, within the memory.

    Attributes:
        batch: B.
        status: ``ran``, or how it was lost.
        reason: of what was lost.
    """

    batch: int
    status: Literal["ran"] | Failure
    reason: str = ""

    @property
    def fits(self) -> bool | None:
        """Whether the memory sufficed; ``None`` where the trial does not tell."""
        return {"ran": True, "oom": False, "crashed": False}.get(self.status)


@dataclass(frozen=True)
class LargestBatch:
    """The largest batch of a variant, as predicted and as found.

    Attributes:
        variant: which Implementation of the Loss.
        memory_bytes: for inputs, parameters and a step.
        counted: total bytes by batch, all that were counted.
        coefficients: ``c0, c1, c2`` of the bytes as a polynomial in B.
        predicted: the largest batch by it; 0 where none fits.
        trials: in the order they were made.
        reason: why there are none.
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
        """The smallest batch that found too little memory."""
        return min((trial.batch for trial in self.trials if trial.fits is False), default=None)


def fit_bytes(counted: Mapping[int, int]) -> tuple[float, float, float]:
    """Return ``c0, c1, c2`` of the bytes, by relative error over the largest batches counted."""
    from scipy.optimize import nnls

    batches = np.array(sorted(counted)[-FITTED_BATCHES:], dtype=float)
    totals = np.array([counted[int(batch)] for batch in batches], dtype=float)
    # Powers of a share of the largest batch, so that the three columns are of one magnitude.
    powers = (batches / batches[-1])[:, None] ** np.arange(3)
    shares, _residual = nnls(powers / totals[:, None], np.ones(len(totals)))
    c0, c1, c2 = shares / batches[-1] ** np.arange(3)
    return float(c0), float(c1), float(c2)


def largest_within(coefficients: tuple[float, float, float], memory_bytes: int) -> int:
    """Return the largest B of which ``c0 + c1 B + c2 B²`` is within the memory; 0 where none is."""
    c0, c1, c2 = coefficients
    room = memory_bytes - c0
    if room <= 0:
        return 0
    # The root in the form that holds for c2 = 0 as well.
    return math.floor(2 * room / (c1 + math.sqrt(c1 * c1 + 4 * c2 * room)))


def free_memory(device: str) -> int:
    """Return the default memory of a device, in bytes: four fifths of what is free."""
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else available_memory()
    return int(FREE_SHARE * free)


def find_largest(
    sweeper: Sweeper, fresh: Worker, centre: Case, scaling: Scaling, memory_bytes: int
) -> LargestBatch:
    """Return the largest batch of a variant whose law in the batch is known.

    Args:
        sweeper: whose worker counts.
        fresh: a worker that does nothing but try.
        centre: the other sizes.
        scaling: of the variant along the batch, with a law of its times.
        memory_bytes: for inputs, parameters and a step.
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
    """Return the total bytes by batch: of the sweep, and of doubled batches on the way."""
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
    """Return about how long a step takes, by the law of the times from the last point on."""
    point, law = scaling.points[-1], scaling.laws["step_seconds"]
    return float(point.step_seconds * (batch / point.size) ** law.exponent)


def _untried(scaling: Scaling, predicted: int, timeout_seconds: float) -> str:
    """Return why a predicted batch is not tried, or nothing where it can be."""
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
    """Yield trials from the predicted batch outwards, until the border lies between two of them.

    A trial that does not tell, since it took too long or failed otherwise, is the last one.
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
