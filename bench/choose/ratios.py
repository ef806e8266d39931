"""How one variant's time compares to another's: paired where it can be, between sizes with care."""

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
    """A variant's Record at a measured size, which a figure rests on.

    Attributes:
        weight: of the size; 1 where it is the very size.
        record: the newest there.
        reference: the reference's newest there.
        history: all of the variant that were timed there, the oldest first.
    """

    weight: float
    record: Record
    reference: Record | None = None
    history: tuple[Record, ...] = ()

    @property
    def seconds(self) -> float:
        """A step's time: the reference's over the paired speed-up, which outlasts a change of load.

        Where the reference has no times, the median.
        """
        step = timing_of(self.record)
        if step.speedup is None or self.reference is None or self.reference.step is None:
            return step.median_seconds
        return self.reference.step.median_seconds / step.speedup.median


def ratio_at(one: Neighbour, other: Neighbour) -> Interval:
    """Return the second's time over the first's at one size.

    Where the newest Records are of several runs, the newest run that timed both tells more, unless
    it contradicts them, as where an implementation has changed since.
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
    """Return the second's time of a step over the first's, both of one Case.

    Of variants that were timed in the same rounds the times are paired. Of others the speed-ups
    over the reference are, and their errors are independent. Where the reference has no times
    either, all that is known is the ratio of the medians.

    Raises:
        ValueError: where one has no times.
    """
    one, other = timing_of(first), timing_of(second)
    if same_rounds(first, second):
        pairs = zip(one.processes, other.processes, strict=True)
        return ratio_interval([np.log(b.seconds) - np.log(a.seconds) for a, b in pairs])
    if one.speedup is None or other.speedup is None:
        return Interval(other.median_seconds / one.median_seconds, *UNKNOWN)
    return quotient(one.speedup, other.speedup)


def quotient(one: Interval, other: Interval) -> Interval:
    """Return the ratio of two independent quantities, of which the errors add as squares do."""
    median = math.log(one.median / other.median)
    down = math.hypot(_log(one.median) - _log(one.low), _log(other.high) - _log(other.median))
    up = math.hypot(_log(one.high) - _log(one.median), _log(other.median) - _log(other.low))
    return Interval(math.exp(median), math.exp(median - down), math.exp(median + up))


def mixed_interval(weights: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Return what ratios at several sizes tell of one between them, as a mean of logarithms.

    How the ratio runs from one size to the next is not known, only that it seldom leaves what is
    seen at either end. So the interval is widened by the spread of the ratios, times the weight
    that the nearest size does not have: by nothing at a measured size, by half of the spread to
    each side half-way between two.
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
        ValueError: where it has none.
    """
    if record.step is None:
        raise ValueError(f"{record.variant} has no times")
    return record.step


def same_rounds(first: Record, second: Record) -> bool:
    """Return whether two were timed in the same rounds: each kept the reference's times there.

    Raises:
        ValueError: where one has no times.
    """
    one, other = timing_of(first), timing_of(second)
    return [(p.reference_seconds, len(p.seconds)) for p in one.processes] == [
        (p.reference_seconds, len(p.seconds)) for p in other.processes
    ]


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
