"""Test the gate itself, on identical code, on a planted slowdown and on a planted buffer."""

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

# With fewer runs, one alarm alone would break the promise of at most 5%.
FEWEST_RUNS = 20


@dataclass(frozen=True, config=KEPT)
class Run:
    """One run of the gate on trees with a known difference.

    Attributes:
        effect: planted change in the fused variant of a Loss.
        loss: name of the Loss.
        cells: number of compared cells.
        suspected: number of ratios that the first process suspected.
        findings: regressions, and cells that could not be measured.
        seconds: duration of the run.
    """

    effect: Effect
    loss: str
    cells: int
    suspected: int
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def caught(self) -> bool:
        """Whether the gate reported a regression of the planted variant."""
        return any(f.kind == "regression" and f.variant == VARIANT for f in self.findings)

    @property
    def alarmed(self) -> bool:
        """Whether the gate reported a regression in unchanged code."""
        return any(
            f.kind == "regression" and (self.effect == "identical" or f.variant != VARIANT)
            for f in self.findings
        )


@dataclass(frozen=True, kw_only=True)
class Proof(Judged):
    """The results of a proof; ``budget_seconds`` is the first sampling time of a phase of a cell.

    Attributes:
        margin: largest accepted slowdown, as a share.
        runs: runs of the gate, in order.
    """

    margin: float
    runs: tuple[Run, ...]

    def select(self, effect: Effect) -> list[Run]:
        """Return the runs of one effect."""
        return [run for run in self.runs if run.effect == effect]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every promise of the gate, with the result of its check."""
        same, slower = self.select("identical"), self.select("slower")
        buffer = self.select("buffer")
        quiet, found = f"at most {MOST_FALSE_ALARMS:.0%}", f"at least {LEAST_FOUND:.0%}"
        return (
            _quiet(f"identical code: an alarm in {quiet}", same),
            _quiet(f"untouched variants: an alarm in {quiet}", slower + buffer),
            _caught(f"a forward {SLOWER:.0%} slower: found in {found}", slower, LEAST_FOUND),
            _caught("an extra [B, B] buffer: always found", buffer, 1),
        )


def hold_proof(plan: GatePlan, count: int, tell: Callable[[str], None]) -> Proof:
    """Run the gate on trees with a known difference.

    A run on identical code compares all eager variants of one Loss, and the Losses take turns; so
    twenty such runs compare about as much as one full gate. A run on a planted change compares the
    planted variant and the vectorized one.

    Args:
        plan: settings of the gate; losses, variants and sizes are replaced for each run.
        count: number of runs of each effect.
        tell: function to call with a line of progress before each run.
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
