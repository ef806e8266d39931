"""Compare two Records of one cell as far as their code and machines let them be alike."""

from dataclasses import dataclass

from lossbench.bench.choose.sources import Host
from lossbench.bench.format import spread
from lossbench.bench.gate.findings import BYTES_MARGIN, LEAST_BYTES
from lossbench.bench.metrics import gated
from lossbench.bench.run.records import Record
from lossbench.bench.timing.intervals import Interval


@dataclass(frozen=True)
class Likeness:
    """How far figures of one cell may be apart.

    Attributes:
        words: degree of likeness, in words.
        counts: largest share by which counted figures may differ.
        slack_bytes: difference in bytes that never matters.
        slack_calls: difference in other counts that never matters.
        ratio: largest factor between the intervals of the speed-up.
    """

    words: str
    counts: float
    slack_bytes: int
    slack_calls: int
    ratio: float


ALIKE = Likeness("same machine and code", BYTES_MARGIN, LEAST_BYTES, 0, 1.5)
# Kernels, and the memory that they take, are chosen by processor and by version.
UNLIKE = Likeness("another machine or code", 1.0, 65536, 16, 5.0)


def likeness_of(one: Record, other: Record) -> Likeness:
    """Return how alike two Records of one cell must be.

    They are alike if one Host measured the same commit, without uncommitted changes.
    """
    device = one.case.device
    mine, theirs = one.environment, other.environment
    same = Host.of(mine, device) == Host.of(theirs, device) and mine.commit == theirs.commit
    return ALIKE if same and not (mine.dirty or theirs.dirty) else UNLIKE


def count_difference(claimed: Record, found: Record, likeness: Likeness) -> str:
    """Return the first counted figure that two Records differ in, in words; empty without one."""
    for metric in gated("bytes", "waits", "note"):
        before, after = metric.of(claimed), metric.of(found)
        if before is None or after is None:
            continue
        least = likeness.slack_bytes if metric.unit == "bytes" else likeness.slack_calls
        if abs(before - after) > max(least, likeness.counts * min(before, after)):
            return f"{metric.name} is {metric.words(before)}, but {metric.words(after)}"
    return ""


def ratio_difference(claimed: Record, found: Record, likeness: Likeness) -> str:
    """Return by how much the speed-ups of two Records contradict each other; empty if little."""
    one = claimed.step.speedup if claimed.step else None
    other = found.step.speedup if found.step else None
    if one is None or other is None or gap(one, other) <= likeness.ratio:
        return ""
    return f"a speed-up of {spread(one)}, but {spread(other)}"


def gap(one: Interval, other: Interval) -> float:
    """Return the factor between two intervals; 1 if they overlap."""
    lower, upper = sorted((one, other), key=lambda each: each.low)
    return max(upper.low / lower.high, 1.0)
