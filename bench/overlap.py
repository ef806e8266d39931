"""Two runs of the same cells: whether they tell the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.intervals import Interval
from bench.records import Record


@dataclass(frozen=True)
class Pair:
    """The step's speed-up of one cell in two runs.

    Attributes:
        record: of the first run.
        first: its interval there.
        second: its interval in the second run.
    """

    record: Record
    first: Interval
    second: Interval

    @property
    def overlaps(self) -> bool:
        """Whether the intervals have a point in common."""
        return self.first.low <= self.second.high and self.second.low <= self.first.high


def pair_cells(first: Sequence[Record], second: Sequence[Record]) -> Iterator[Pair]:
    """Yield the cells other than the reference that were timed in both runs."""
    again = {record.cell: record for record in second}
    for record in first:
        other = again.get(record.cell)
        if record.variant == "reference" or other is None or not (record.step and other.step):
            continue
        if record.step.speedup and other.step.speedup:
            yield Pair(record, record.step.speedup, other.step.speedup)
