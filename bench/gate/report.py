"""The report of the gate: its comparisons, its findings, and its exit code."""

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
        case: case of the comparison.
        variant: name of the variant.
        base: status and counts of the variant in the base.
        head: status and counts of the variant in the head.
        screened: the head's times paired with the base's in the first process, by phase; empty if
            the variant was not timed.
        confirmed: paired times in the fresh processes, only for the suspected phases.
        lost: reason why the variant could not be timed; empty if it could.
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
    """One difference between the trees.

    Attributes:
        kind: kind of the difference; a ``regression`` fails the gate, and ``lost`` stands for
            something that could not be measured.
        loss: name of the Loss.
        variant: name of the variant, or several names that are reported together.
        case: case of the difference; ``None`` if it concerns no Case.
        quantity: changed quantity: ``step``, ``saved_bytes``, ``agreement``, ...
        text: description of the change.
        factor: the head's figure over the base's, for times and bytes.
        interval: factor with its 95% interval, for times.
        processes: number of fresh processes that confirmed it.
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
    """The results of the gate; ``budget_seconds`` is the first sampling time of a phase of a cell.

    Attributes:
        base: commit to compare with.
        head: commit, or working tree, that is checked.
        margin: largest accepted slowdown, as a share.
        seconds: duration of the gate.
        comparisons: one comparison per cell.
        findings: differences between the trees.
    """

    base: str
    head: str
    margin: float
    seconds: float
    comparisons: tuple[GateComparison, ...]
    findings: tuple[Finding, ...]

    def of_kind(self, kind: FindingKind) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    @property
    def exit_code(self) -> int:
        """1 if something got worse; else 2 if something could not be measured; else 0."""
        if self.of_kind("regression"):
            return 1
        return 2 if self.of_kind("lost") else 0


def slowdown(timing: Timing) -> Interval:
    """Return the head's time over the base's, above 1 where the head is slower.

    Raises:
        ValueError: if the base was not timed in the same rounds.
    """
    speedup = timing.speedup
    if speedup is None:
        raise ValueError("expected times of the head and the base, got only the head's")
    high = 1 / speedup.low if speedup.low > 0 else math.inf
    return Interval(1 / speedup.median, 1 / speedup.high, high)
