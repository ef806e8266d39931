"""What the gate compared, what it found, and the exit code that follows."""

import math
from collections.abc import Mapping
from typing import Literal

from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.gate.compare import Seen
from lossbench.bench.stamped import KEPT, Stamped
from lossbench.bench.timing.intervals import Interval
from lossbench.bench.timing.samples import Timing

FindingKind = Literal["regression", "lost", "improvement", "note"]


@dataclass(frozen=True, config=KEPT)
class GateComparison:
    """A variant of one Case in both trees.

    Attributes:
        case: what was asked.
        variant: which.
        base: what is known of it in the base.
        head: the same in the head.
        screened: the head's times beside the base's in the first process, by phase; empty where
            it was not timed.
        confirmed: the same in the fresh processes that a suspicion was tried in.
        lost: why it could not be timed; empty where it could.
    """

    case: Case
    variant: str
    base: Seen
    head: Seen
    screened: Mapping[str, Timing]
    confirmed: Mapping[str, Timing]
    lost: str = ""


@dataclass(frozen=True, config=KEPT)
class Finding:
    """One thing that differs between the trees.

    Attributes:
        kind: a ``regression`` fails the gate; what was ``lost`` could not be measured.
        loss: the Loss.
        variant: one variant, or several that are told of together.
        case: where; ``None`` of what concerns no Case.
        quantity: what differs: ``step``, ``saved_bytes``, ``agreement``, ...
        text: what is told of it.
        factor: the head's figure over the base's, of times and bytes.
        interval: the factor of times, with its 95% interval.
        processes: how many fresh processes confirmed it.
    """

    kind: FindingKind
    loss: str
    variant: str
    case: Case | None
    quantity: str
    text: str
    factor: float | None = None
    interval: Interval | None = None
    processes: int = 0


@dataclass(frozen=True, kw_only=True)
class GateReport(Stamped):
    """All that the gate saw; ``budget_seconds`` are those of a phase of a cell at first.

    Attributes:
        base: the commit that was compared with.
        head: the commit, or the working tree, that was held against it.
        margin: how much slower is let pass, as a share.
        seconds: that all of it took.
        comparisons: a cell each.
        findings: what differs.
    """

    base: str
    head: str
    margin: float
    seconds: float
    comparisons: tuple[GateComparison, ...]
    findings: tuple[Finding, ...]

    def of_kind(self, kind: FindingKind) -> tuple[Finding, ...]:
        """Return the findings of a kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    @property
    def exit_code(self) -> int:
        """1 where something got worse; else 2 where something could not be measured; else 0."""
        if self.of_kind("regression"):
            return 1
        return 2 if self.of_kind("lost") else 0


def slowdown(timing: Timing) -> Interval:
    """Return the head's time over the base's, above 1 where the head is slower.

    Raises:
        ValueError: where the base was not timed beside it.
    """
    speedup = timing.speedup
    if speedup is None:
        raise ValueError("expected times beside the base's, got the head's alone")
    high = 1 / speedup.low if speedup.low > 0 else math.inf
    return Interval(1 / speedup.median, 1 / speedup.high, high)
