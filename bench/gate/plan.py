"""What the gate is to compare, and how closely."""

from collections.abc import Mapping
from dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.case.presets import Sizes
from lossbench.bench.errors import UsageError
from lossbench.bench.gate.report import slowdown
from lossbench.bench.timing.samples import Timing
from lossbench.impls.compiled import is_compiled
from lossbench.impls.registry import REFERENCE

Variants = Mapping[str, tuple[str, ...]]
"""The variants of each Loss of a tree."""

FEWEST_PROCESSES, MOST_PROCESSES = 3, 6
# Where the buffers of a step are small, few of them are mapped and faulted in anew at each call,
# which is where equal code differs most.
TIMED = Sizes(batch=(128,), classes=(100,))
# Where rows and classes are more than one block of them, so that what forms a whole matrix shows.
COUNTED = Sizes(batch=(1024,), classes=(1000,))


@dataclass(frozen=True)
class GateCell:
    """A variant of a Case to compare.

    Attributes:
        case: what is asked.
        variant: which.
        judged: whether it is held against the reference and timed too, or weighed alone.
    """

    case: Case
    variant: str
    judged: bool


@dataclass(frozen=True)
class GatePlan:
    """What the gate is to do.

    Attributes:
        margin: how much slower is let pass, as a share.
        budget_seconds: how long each phase of a cell is sampled at first, and twice as long in each
            process that tries a suspicion.
        threads: that torch computes with.
        device: ``cpu`` or ``cuda``.
        machine: the name that this machine goes by.
        losses: names that narrow what is compared; empty for all.
        variants: names that narrow it further; empty for all that are not compiled.
        timed: the sizes at which variants are judged, weighed and timed.
        counted: those at which they are only weighed.
        counts_only: whether to leave out times, and judge and weigh alone.
    """

    margin: float
    budget_seconds: float
    threads: int
    device: str
    machine: str = ""
    losses: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    timed: tuple[Sizes, ...] = (TIMED,)
    counted: tuple[Sizes, ...] = (COUNTED,)
    counts_only: bool = False

    def suspects(self, timing: Timing) -> bool:
        """Return whether a ratio lies beyond the margin, on either side."""
        return not 1 / (1 + self.margin) <= slowdown(timing).median <= 1 + self.margin

    def settles(self, timing: Timing) -> bool:
        """Return whether the processes that tried a suspicion have cleared or confirmed it."""
        processes, interval = len(timing.processes), slowdown(timing)
        beyond = interval.low > 1 + self.margin or interval.high < 1 / (1 + self.margin)
        confirmed = beyond and processes >= FEWEST_PROCESSES
        return confirmed or (processes > 1 and not self.suspects(timing))

    def narrowed(self, variants: Variants) -> Variants:
        """Return of a tree's variants those of the Losses that are asked for."""
        return {loss: v for loss, v in variants.items() if not self.losses or loss in self.losses}


def choose_cells(plan: GatePlan, base: Variants, head: Variants) -> list[GateCell]:
    """Return what both trees have and the plan asks for.

    Raises:
        UsageError: where that is nothing.
    """
    cells = [
        GateCell(case, variant, judged)
        for judged, grids in ((True, plan.timed), (False, plan.counted))
        for grid in grids
        for case in grid.cases(plan.device)
        if not plan.losses or case.loss in plan.losses
        for variant in _chosen(plan, base.get(case.loss, ()), judged=judged)
        if variant in head.get(case.loss, ())
    ]
    if not cells:
        known = sorted({name for names in plan.narrowed(head).values() for name in names})
        asked = (
            f"no variant {' or '.join(map(repr, plan.variants))}" if plan.variants else "nothing"
        )
        raise UsageError(f"the trees share {asked} to compare; the head has: {', '.join(known)}")
    return cells


def _chosen(plan: GatePlan, variants: tuple[str, ...], *, judged: bool) -> list[str]:
    chosen = [name for name in variants if name in plan.variants]
    if not plan.variants:
        chosen = [name for name in variants if not is_compiled(name)]
    # A definition is not there to be fast, and at the larger sizes some take seconds.
    return chosen if judged else [name for name in chosen if name != REFERENCE]
