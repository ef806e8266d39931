"""The settings of the gate, and the choice of the cells to compare."""

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
"""The variants of a tree, by the name of the Loss."""

FEWEST_PROCESSES, MOST_PROCESSES = 3, 6
# At small sizes few buffers of a step are mapped anew at each call, and fewer page faults disturb
# the times. Page faults are the main reason why equal code differs.
TIMED = Sizes(batch=(128,), classes=(100,))
# Rows and classes span more than one block here, so a whole matrix shows in the bytes.
COUNTED = Sizes(batch=(1024,), classes=(1000,))


@dataclass(frozen=True)
class GateCell:
    """A variant of a Case to compare.

    Attributes:
        case: case to compare in.
        variant: name of the variant.
        judged: whether the variant is also checked against the reference and timed; otherwise only
            its memory and operators are counted.
    """

    case: Case
    variant: str
    judged: bool


@dataclass(frozen=True)
class GatePlan:
    """The settings of the gate.

    Attributes:
        margin: largest accepted slowdown, as a share.
        budget_seconds: time to sample each phase of a cell at first; each fresh process that
            repeats a suspected phase samples twice as long.
        threads: number of threads that torch computes with.
        device: ``cpu`` or ``cuda``.
        machine: name of this machine.
        losses: names of the losses to compare; empty for all.
        variants: names of the variants to compare; empty for all that are not compiled.
        timed: sizes at which variants are checked, counted and timed.
        counted: sizes at which only memory and operators are counted.
        counts_only: whether to check and count only, without times.
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
        """Return whether the median ratio lies outside the margin, on either side."""
        return not 1 / (1 + self.margin) <= slowdown(timing).median <= 1 + self.margin

    def settles(self, timing: Timing) -> bool:
        """Return whether the fresh processes have cleared or confirmed a suspicion."""
        processes, interval = len(timing.processes), slowdown(timing)
        beyond = interval.low > 1 + self.margin or interval.high < 1 / (1 + self.margin)
        confirmed = beyond and processes >= FEWEST_PROCESSES
        return confirmed or (processes > 1 and not self.suspects(timing))

    def narrowed(self, variants: Variants) -> Variants:
        """Return only the variants of the Losses to compare."""
        return {loss: v for loss, v in variants.items() if not self.losses or loss in self.losses}


def choose_cells(plan: GatePlan, base: Variants, head: Variants) -> list[GateCell]:
    """Return the cells of the plan that both trees have.

    Raises:
        UsageError: if there are none.
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
    # Some references take seconds at the larger sizes, and they need not be fast.
    return chosen if judged else [name for name in chosen if name != REFERENCE]
