"""The harness on trial: pairs of which the truth is known, cheaters, and buffers of known size."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

from lossbench.bench.limits import SELFTEST_SECONDS
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.selftest.buffers import measure_counts
from lossbench.bench.selftest.cheaters import measure_refusals
from lossbench.bench.selftest.gates import Alarm, hold_gates
from lossbench.bench.selftest.report import PLANTED, SelfTestReport
from lossbench.bench.selftest.trials import (
    FreshProcesses,
    Measure,
    PairTrial,
    burnt_core,
    cases,
    fresh_worker,
    hold_trial,
)
from lossbench.bench.stamped import now
from lossbench.bench.timing.sampling import Sampling

Tell = Callable[[str], None]


@dataclass(frozen=True)
class SelfTestPlan:
    """What a self-test is to do.

    Attributes:
        trials: of each share that is judged; those that are only shown get a third.
        gate_pairs: how many pairs the gates of other tools are given.
        budget_seconds: how long each process of a trial may sample.
        threads: that torch computes with.
        device: ``cpu`` or ``cuda``.
        processes: how many take samples in each trial, one after the other.
        machine: the name that this machine goes by.
    """

    trials: int
    gate_pairs: int
    budget_seconds: float
    threads: int
    device: str
    processes: int = 1
    machine: str = ""

    @property
    def arms(self) -> tuple[tuple[float, bool, int], ...]:
        """Effect, whether under load, and number of trials."""
        shown = -(-self.trials // 3)
        return (
            (0.0, False, self.trials),
            (0.05, False, shown),
            (PLANTED, False, self.trials),
            (0.25, False, shown),
            (0.0, True, self.trials),
            (PLANTED, True, shown),
        )

    @property
    def parts(self) -> int:
        """How many times ``tell`` is called."""
        return 2 + sum(trials for *_, trials in self.arms) + self.gate_pairs


def run_selftest(plan: SelfTestPlan, tell: Tell, measure: Measure | None = None) -> SelfTestReport:
    """Put the harness on trial.

    Args:
        plan: how much of it.
        tell: told what is about to begin, in a line.
        measure: how a trial's pair is measured, by default in processes of its own.
    """
    environment = current_environment(plan.machine, plan.threads)
    with fresh_worker(plan.threads) as worker:
        tell("cheaters")
        refusals = worker.ask(SELFTEST_SECONDS, measure_refusals, plan.device)
        tell("planted buffers")
        counts = worker.ask(SELFTEST_SECONDS, measure_counts, plan.device)
    measure = measure or FreshProcesses(plan.threads, plan.processes)
    return SelfTestReport(
        environment=environment,
        trials=tuple(_hold_trials(plan, tell, measure)),
        alarms=tuple(_hold_gates(plan, tell)),
        refusals=refusals,
        counts=counts,
        budget_seconds=plan.budget_seconds,
        processes=plan.processes,
        made=now(),
    )


def _hold_trials(plan: SelfTestPlan, tell: Tell, measure: Measure) -> Iterator[PairTrial]:
    """Yield the trials, first without and then under load, the effects taking turns."""
    chosen = cases(plan.device)
    for loaded in (False, True):
        arms = [(effect, count) for effect, under, count in plan.arms if under == loaded]
        with burnt_core() if loaded else nullcontext():
            for turn in range(plan.trials):
                case = chosen[turn % len(chosen)]
                sampling = Sampling(plan.budget_seconds, seed=turn)
                for effect in (effect for effect, count in arms if turn < count):
                    load = ", a core burnt" * loaded
                    tell(f"trial {turn + 1}: {case.loss} {case}, {effect:.0%} slower{load}")
                    yield hold_trial(case, effect, sampling, measure, loaded=loaded)


def _hold_gates(plan: SelfTestPlan, tell: Tell) -> Iterator[Alarm]:
    """Yield what other tools' gates say, as many Cases in turn as there are pairs."""
    chosen = cases(plan.device)
    for turn in range(plan.gate_pairs):
        case = chosen[turn % len(chosen)]
        tell(f"gates, pair {turn + 1}: {case.loss} {case}")
        yield from hold_gates(case, PLANTED, plan.threads)
