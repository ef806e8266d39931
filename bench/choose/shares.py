"""What a variant took at one measured size, beside others there."""

from pydantic.dataclasses import dataclass

from bench.choose.ratios import same_rounds, step_ratio, timing_of
from bench.intervals import Interval
from bench.records import Record


@dataclass(frozen=True)
class Share:
    """A Record at a measured size.

    Attributes:
        weight: of the size.
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


def ratio_at(one: Share, other: Share) -> Interval:
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
