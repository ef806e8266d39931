"""Times as they were sampled, and what can be said of their ratio to the reference's."""

import statistics
from collections.abc import Iterable
from functools import cached_property
from typing import Literal, Self

import numpy as np
from pydantic.dataclasses import dataclass

from lossbench.bench.timing.intervals import Interval, ratio_interval

Verdict = Literal["faster", "slower", "same", "unclear"]

SAME_MARGIN = 0.02


@dataclass(frozen=True)
class Samples:
    """The samples of one implementation in one phase that one process took.

    Attributes:
        seconds: of one call, a sample each round.
        reference_seconds: the reference's in the same rounds; empty where it was not measured.
        calls: how many calls a sample averages.
        elsewhere: how many processors other processes kept busy meanwhile, on average.
        throttled: during how many samples a GPU's clock was held below what it reached in others.
    """

    seconds: tuple[float, ...]
    reference_seconds: tuple[float, ...]
    calls: int
    elsewhere: float = 0.0
    throttled: int = 0

    def __post_init__(self) -> None:
        """Refuse no samples, and samples that were not taken in pairs."""
        if not self.seconds:
            raise ValueError("expected at least one sample, got none")
        if self.reference_seconds and len(self.seconds) != len(self.reference_seconds):
            raise ValueError(
                f"expected a reference sample for each of {len(self.seconds)}, "
                f"got {len(self.reference_seconds)}"
            )


@dataclass(frozen=True)
class Timing:
    """The times of one implementation in one phase, beside the reference's of the same rounds.

    Attributes:
        processes: the samples of each process that took some, in time order.
    """

    processes: tuple[Samples, ...]

    def __post_init__(self) -> None:
        """Refuse times that no process took."""
        if not self.processes:
            raise ValueError("expected the samples of at least one process, got none")

    @classmethod
    def joined(cls, timings: Iterable["Timing"]) -> Self:
        """Return the timing that holds the processes of all."""
        return cls(tuple(samples for timing in timings for samples in timing.processes))

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        """Every sample."""
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
        """What the speed-up says: ``same`` where all of its interval is within 2% of 1."""
        if self.speedup is None:
            return "unclear"
        low, high = self.speedup.low, self.speedup.high
        if low >= 1 / (1 + SAME_MARGIN) and high <= 1 + SAME_MARGIN:
            return "same"
        if low > 1:
            return "faster"
        return "slower" if high < 1 else "unclear"

    @property
    def elsewhere(self) -> float:
        """The most processors that other processes kept busy during any process's samples."""
        return max(samples.elsewhere for samples in self.processes)
