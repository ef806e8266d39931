"""Compare the measured times of two variants, in pairs if possible."""

import math

import numpy as np

from lossbench.bench.run.records import Record
from lossbench.bench.timing.intervals import Interval, ratio_interval
from lossbench.bench.timing.samples import Timing

UNKNOWN = (0.0, math.inf)


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
