"""The gate on trial: on identical code, on a planted slowdown, and on a planted buffer."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.gate.compare import BASE, HEAD
from lossbench.bench.gate.hold import hold_gate
from lossbench.bench.gate.plan import GatePlan
from lossbench.bench.gate.plant import SLOWER, VARIANT, Effect, plant, plantable, source_of
from lossbench.bench.gate.report import Finding
from lossbench.bench.gate.trees import copy_files
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.promises import (
    LEAST_FOUND,
    MOST_FALSE_ALARMS,
    Check,
    Judged,
    Share,
    judge_promise,
)
from lossbench.bench.stamped import KEPT, now

# Of fewer, one alarm alone would be more than one in twenty.
FEWEST_RUNS = 20


@dataclass(frozen=True, config=KEPT)
class Run:
    """One run of the gate, of which the truth is known.

    Attributes:
        effect: what was planted in the fused variant of a Loss.
        loss: which.
        cells: how many were compared.
        suspected: how many ratios the first process suspected.
        findings: regressions, and what was lost.
        seconds: that it took.
    """

    effect: Effect
    loss: str
    cells: int
    suspected: int
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def caught(self) -> bool:
        """Whether the planted variant was called worse."""
        return any(f.kind == "regression" and f.variant == VARIANT for f in self.findings)

    @property
    def alarmed(self) -> bool:
        """Whether code was called worse in which nothing was planted."""
        return any(
            f.kind == "regression" and (self.effect == "identical" or f.variant != VARIANT)
            for f in self.findings
        )


@dataclass(frozen=True, kw_only=True)
class Proof(Judged):
    """All runs of a proof; ``budget_seconds`` are those of a phase of a cell at first.

    Attributes:
        margin: how much slower is let pass, as a share.
        runs: in the order that they were made in.
    """

    margin: float
    runs: tuple[Run, ...]

    def select(self, effect: Effect) -> list[Run]:
        """Return the runs of one effect."""
        return [run for run in self.runs if run.effect == effect]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every promise of the gate, and whether it holds."""
        same, slower = self.select("identical"), self.select("slower")
        buffer = self.select("buffer")
        quiet, found = f"at most {MOST_FALSE_ALARMS:.0%}", f"at least {LEAST_FOUND:.0%}"
        return (
            _quiet(f"identical code: an alarm in {quiet}", same),
            _quiet(f"untouched variants: an alarm in {quiet}", slower + buffer),
            _caught(f"a forward {SLOWER:.0%} slower: found in {found}", slower, LEAST_FOUND),
            _caught("an extra [B, B] buffer: found always", buffer, 1),
        )


def hold_proof(plan: GatePlan, count: int, tell: Callable[[str], None]) -> Proof:
    """Run the gate on trees of which the truth is known.

    Identical code is compared in all eager variants of a Loss, the Losses in turn, so that twenty
    runs compare as much as one whole gate. A planted variant stands beside the vectorized one.

    Args:
        plan: of the gate; what is compared is put in its place.
        count: of runs, of each effect.
        tell: told what begins, in a line.
    """
    environment = current_environment(plan.machine, plan.threads)
    every = [loss.name for loss in impls.losses()]
    runs = []
    for turn in range(count):
        for effect in get_args(Effect):
            losses = every if effect == "identical" else plantable()
            loss = losses[turn % len(losses)]
            tell(f"[{turn + 1}/{count}] {loss}, {effect}")
            runs.append(_run(plan, effect, loss))
    return Proof(
        environment=environment,
        made=now(),
        margin=plan.margin,
        budget_seconds=plan.budget_seconds,
        runs=tuple(runs),
    )


def _run(plan: GatePlan, effect: Effect, loss: str) -> Run:
    chosen = replace(
        plan,
        losses=(loss,),
        variants=() if effect == "identical" else (VARIANT, "vectorized"),
        counted=plan.counted if effect == "identical" else (),
        counts_only=effect == "buffer",
    )
    with tempfile.TemporaryDirectory(prefix="lossbench-") as folder:
        base, head = (copy_files(name, Path(folder)) for name in (BASE, HEAD))
        if effect != "identical":
            plant(head.file(source_of(loss)), loss, effect)
        report = hold_gate(base, head, chosen, lambda _: None)
    return Run(
        effect=effect,
        loss=loss,
        cells=len(report.comparisons),
        suspected=sum(len(comparison.confirmed) for comparison in report.comparisons),
        findings=report.of_kind("regression") + report.of_kind("lost"),
        seconds=report.seconds,
    )


def _quiet(promise: str, runs: Sequence[Run]) -> Check:
    share = Share(sum(run.alarmed for run in runs), len(runs))
    return judge_promise(promise, share, holds=share.value <= MOST_FALSE_ALARMS, fewest=FEWEST_RUNS)


def _caught(promise: str, runs: Sequence[Run], least: float) -> Check:
    share = Share(sum(run.caught for run in runs), len(runs))
    return judge_promise(promise, share, holds=share.value >= least, fewest=FEWEST_RUNS)
