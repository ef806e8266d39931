"""Sampled times, and the verdict on their ratio to the reference's times."""

import math
import statistics
from collections.abc import Iterable
from functools import cached_property
from typing import Literal, Self

import numpy as np
from pydantic.dataclasses import dataclass

from lossbench.bench.timing.intervals import Interval, ratio_interval

Verdict = Literal["faster", "slower", "same", "unclear"]

FEWEST_PROCESSES = 3
"""The fewest processes whose interval covers the differences between processes.

In this project's records the interval of one process contained the mean of the two others in only
77% of the cells.
"""


@dataclass(frozen=True)
class Samples:
    """The samples of one implementation in one phase, taken by one process.

    Attributes:
        seconds: time of one call, one sample per round.
        reference_seconds: the reference's samples in the same rounds; empty if not measured.
        calls: number of calls that a sample averages.
        elsewhere: number of processors that other processes kept busy, on average.
        throttled: number of samples during which the GPU's clock rate was well below its highest.
    """

    seconds: tuple[float, ...]
    reference_seconds: tuple[float, ...]
    calls: int
    elsewhere: float = 0.0
    throttled: int = 0

    def __post_init__(self) -> None:
        """Refuse no samples, what is no time, and samples that were not taken in pairs."""
        if not self.seconds:
            raise ValueError("expected at least one sample, got none")
        for seconds in (*self.seconds, *self.reference_seconds):
            if not 0 < seconds < math.inf:
                raise ValueError(f"expected samples above 0 and finite, got {seconds}")
        if self.reference_seconds and len(self.seconds) != len(self.reference_seconds):
            raise ValueError(
                f"expected a reference sample for each of {len(self.seconds)}, "
                f"got {len(self.reference_seconds)}"
            )


@dataclass(frozen=True)
class Timing:
    """The times of one implementation in one phase, paired with the reference's by round.

    Attributes:
        processes: samples of each process, in the order of time.
    """

    processes: tuple[Samples, ...]

    def __post_init__(self) -> None:
        """Refuse times that no process took."""
        if not self.processes:
            raise ValueError("expected the samples of at least one process, got none")

    @classmethod
    def joined(cls, timings: Iterable["Timing"]) -> Self:
        """Return one timing with the processes of all."""
        return cls(tuple(samples for timing in timings for samples in timing.processes))

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        """The samples of all processes."""
        return tuple(x for samples in self.processes for x in samples.seconds)

    @cached_property
    def median_seconds(self) -> float:
        """The median time of one call."""
        return statistics.median(self.seconds)

    @cached_property
    def speedup(self) -> Interval | None:
        """The reference's time over this one's, above 1 where this is faster."""
        if not all(samples.reference_seconds for samples in self.processes):
            return None
        return ratio_interval(
            [np.log(s.reference_seconds) - np.log(s.seconds) for s in self.processes]
        )

    @property
    def verdict(self) -> Verdict:
        """The verdict on the speed-up: ``same`` if its whole interval is within 2% of 1."""
        # asv and the gate also measure older commits, which have no such margin.
        from lossbench.impls.estimate import SAME_MARGIN

        if self.speedup is None:
            return "unclear"
        if self.speedup.is_near_one(SAME_MARGIN):
            return "same"
        if self.speedup.low > 1:
            return "faster"
        return "slower" if self.speedup.high < 1 else "unclear"

    @property
    def elsewhere(self) -> float:
        """The number of processors that other processes kept busy, largest over the processes."""
        return max(samples.elsewhere for samples in self.processes)
