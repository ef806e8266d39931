"""Repeat suspected measurements in fresh processes.

The memory layout of a process can make equal code differ by some per cent for the whole process,
and among a hundred ratios some are far from 1. So the first process only raises suspicions, and its
times are not used to confirm them. A suspicion is confirmed if the interval over at least three
fresh processes lies outside the margin. It is cleared if the ratio over at least two fresh
processes lies within the margin.
"""

import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace

from lossbench.bench.gate.compare import sample_trees
from lossbench.bench.gate.plan import MOST_PROCESSES, GatePlan
from lossbench.bench.gate.report import GateComparison
from lossbench.bench.gate.trees import Tree
from lossbench.bench.limits import GATE_SECONDS, sampling_seconds
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling


@dataclass
class Suspicion:
    """A phase of a cell in which the head may be slower, or faster.

    Attributes:
        number: index of the comparison.
        phase: ``forward`` or ``step``.
        timings: timings of the fresh processes.
        lost: reason why a process gave no timing; empty if all did.
    """

    number: int
    phase: str
    timings: list[Timing] = field(default_factory=list)
    lost: str = ""

    def pending(self, plan: GatePlan) -> bool:
        """Return whether another process must repeat the measurement."""
        return not self.lost and not plan.settles(Timing.joined(self.timings))


def confirm(
    comparisons: list[GateComparison],
    trees: tuple[Tree, Tree],
    plan: GatePlan,
    tell: Callable[[str], None],
) -> list[GateComparison]:
    """Repeat suspected phases in fresh processes, and return the comparisons with their times."""
    suspicions = [
        Suspicion(number, phase)
        for number, comparison in enumerate(comparisons)
        for phase, timing in comparison.screened.items()
        if plan.suspects(timing)
    ]
    pending = suspicions
    for turn in range(MOST_PROCESSES):
        if not pending:
            break
        tell(f"{len(pending)} suspected, repeated in fresh process {turn + 1}")
        with closing(Worker(plan.threads)) as worker:
            for suspicion in random.Random(turn).sample(pending, len(pending)):
                _try(worker, trees, suspicion, comparisons[suspicion.number], plan, turn)
        pending = [suspicion for suspicion in pending if suspicion.pending(plan)]
    return _tried(comparisons, suspicions)


def _try(
    worker: Worker,
    trees: tuple[Tree, Tree],
    suspicion: Suspicion,
    comparison: GateComparison,
    plan: GatePlan,
    turn: int,
) -> None:
    phase, sampling = suspicion.phase, Sampling(2 * plan.budget_seconds, seed=turn)
    try:
        times = ask_times(worker, trees, comparison, (phase,), sampling)
    except Lost as lost:
        suspicion.lost = str(lost)
    else:
        suspicion.timings.append(times[phase])


def ask_times(
    worker: Worker,
    trees: tuple[Tree, Tree],
    comparison: GateComparison,
    phases: tuple[str, ...],
    sampling: Sampling,
) -> dict[str, Timing]:
    """Return the times of a variant in both trees, by phase.

    The position of a module in memory affects its times, so the trees take turns in making their
    module first; ``sampling.seed`` decides.

    Raises:
        Lost: if the worker fails.
    """
    ordered = trees if sampling.seed % 2 else trees[::-1]
    timeout = sampling_seconds(GATE_SECONDS, sampling.budget_seconds)
    case, variant = comparison.case, comparison.variant
    return worker.ask(timeout, sample_trees, ordered, case, variant, phases, sampling)


def _tried(comparisons: list[GateComparison], suspicions: list[Suspicion]) -> list[GateComparison]:
    found = list(comparisons)
    for suspicion in suspicions:
        before = found[suspicion.number]
        if suspicion.lost:
            found[suspicion.number] = replace(before, lost=suspicion.lost)
        else:
            tried = {**before.confirmed, suspicion.phase: Timing.joined(suspicion.timings)}
            found[suspicion.number] = replace(before, confirmed=tried)
    return found
