"""Compare the times of two variants: paired if possible, and interpolated between sizes."""

import math
from collections.abc import Sequence

import numpy as np
from pydantic.dataclasses import dataclass

from lossbench.bench.run.records import Record
from lossbench.bench.timing.intervals import Interval, ratio_interval
from lossbench.bench.timing.samples import Timing

UNKNOWN = (0.0, math.inf)


@dataclass(frozen=True)
class Neighbour:
    """A variant's Record at a measured size that a figure rests on.

    Attributes:
        weight: weight of the size in the interpolation; 1 for an exact match.
        record: Record of the variant at this size that counts.
        reference: Record of the reference at this size that counts.
        history: all Records of the variant with times at this size, the oldest first.
    """

    weight: float
    record: Record
    reference: Record | None = None
    history: tuple[Record, ...] = ()

    @property
    def seconds(self) -> float:
        """The time of a step: the reference's time divided by the paired speed-up.

        The load of the machine changes times, but hardly their ratio. If the reference has no
        times, it is the median time of the variant.
        """
        step = timing_of(self.record)
        if step.speedup is None or self.reference is None or self.reference.step is None:
            return step.median_seconds
        return self.reference.step.median_seconds / step.speedup.median


def ratio_at(one: Neighbour, other: Neighbour) -> Interval:
    """Return the second's time over the first's at one size.

    If the newest Records are of two runs, the newest run that timed both gives a narrower interval.
    It is used unless it contradicts the newest Records; then an implementation has changed since.
    """
    newest = step_ratio(one.record, other.record)
    if same_rounds(one.record, other.record):
        return newest
    together = [(a, b) for a in one.history for b in other.history if same_rounds(a, b)]
    if not together:
        return newest
    paired = step_ratio(*together[-1])
    agree = paired.low <= newest.high and newest.low <= paired.high
    return paired if agree else newest


def step_ratio(first: Record, second: Record) -> Interval:
    """Return the second's time of a step over the first's, both in one Case.

    Times of the same rounds are compared in pairs. Otherwise the speed-ups over the reference are
    compared, and their errors are independent. If the reference has no times either, only the ratio
    of the medians is known, and the interval is unbounded.

    Raises:
        ValueError: if one has no times.
    """
    one, other = timing_of(first), timing_of(second)
    if same_rounds(first, second):
        pairs = zip(one.processes, other.processes, strict=True)
        return ratio_interval([np.log(b.seconds) - np.log(a.seconds) for a, b in pairs])
    if one.speedup is None or other.speedup is None:
        return Interval(other.median_seconds / one.median_seconds, *UNKNOWN)
    return quotient(one.speedup, other.speedup)


def quotient(one: Interval, other: Interval) -> Interval:
    """Return the ratio of two independent quantities; the squares of their errors add up."""
    median = math.log(one.median / other.median)
    down = math.hypot(_log(one.median) - _log(one.low), _log(other.high) - _log(other.median))
    up = math.hypot(_log(one.high) - _log(one.median), _log(other.median) - _log(other.low))
    return Interval(math.exp(median), math.exp(median - down), math.exp(median + up))


def mixed_interval(weights: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Return the ratio at a size between measured sizes, as the weighted mean of logarithms.

    The ratio between two sizes is unknown, but it is seldom outside of the ratios at both. So the
    interval is widened to each side by the spread of the ratios, times 1 minus the largest weight:
    by nothing at a measured size, and by half of the spread half-way between two.
    """
    medians = [_log(interval.median) for interval in intervals]
    doubt = (max(medians) - min(medians)) * (1 - max(weights))
    median, low, high = (
        sum(
            weight * _log(getattr(interval, end))
            for weight, interval in zip(weights, intervals, strict=True)
        )
        for end in ("median", "low", "high")
    )
    return Interval(math.exp(median), math.exp(low - doubt), math.exp(high + doubt))


def timing_of(record: Record) -> Timing:
    """Return the times of a Record's step.

    Raises:
        ValueError: if it has none.
    """
    if record.step is None:
        raise ValueError(f"{record.variant} has no times")
    return record.step


def same_rounds(first: Record, second: Record) -> bool:
    """Return whether two were timed in the same rounds: then both have the same reference times.

    Raises:
        ValueError: if one has no times.
    """
    one, other = timing_of(first), timing_of(second)
    return [(p.reference_seconds, len(p.seconds)) for p in one.processes] == [
        (p.reference_seconds, len(p.seconds)) for p in other.processes
    ]


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
