"""Test the harness itself: planted slowdowns and buffers, simulated noise, cheating contenders."""

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass

from lossbench.bench.limits import SELFTEST_SECONDS
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.selftest.buffers import measure_counts
from lossbench.bench.selftest.contenders import contenders
from lossbench.bench.selftest.coverage import measure_coverage
from lossbench.bench.selftest.gates import Alarm, hold_gates
from lossbench.bench.selftest.mixed import MixedPlan, measure_contenders
from lossbench.bench.selftest.report import (
    FEWEST_LOADED_TRIALS,
    FEWEST_TRIALS,
    PLANTED,
    SelfTestReport,
)
from lossbench.bench.selftest.trials import (
    Measure,
    PairTrial,
    SamplingProcesses,
    burnt_core,
    cases,
    fresh_worker,
    hold_trial,
)
from lossbench.bench.stamped import now
from lossbench.bench.timing.samples import FEWEST_PROCESSES
from lossbench.bench.timing.sampling import Sampling

Tell = Callable[[str], None]


@dataclass(frozen=True)
class SelfTestPlan:
    """The settings of a self-test.

    Attributes:
        trials: number of trials of identical code, and of the slowdown with a promise; effects
            that are only shown get a fifth.
        gate_pairs: number of pairs for the gates of other tools.
        budget_seconds: sampling time of each process of a trial.
        threads: number of threads that torch computes with.
        device: ``cpu`` or ``cuda``.
        processes: number of processes that sample in each trial, one after the other.
        machine: name of this machine.
        quick: whether only some of the contenders are entered.
    """

    trials: int
    gate_pairs: int
    budget_seconds: float
    threads: int
    device: str
    processes: int = FEWEST_PROCESSES
    machine: str = ""
    quick: bool = False

    @property
    def arms(self) -> tuple[tuple[float, bool, int], ...]:
        """One entry per effect: the slowdown as a share, whether it is under load, the trials."""
        shown, loaded = -(-self.trials // 5), min(self.trials, FEWEST_LOADED_TRIALS)
        quiet = min(self.trials, FEWEST_TRIALS)
        return (
            (0.0, False, self.trials),
            (0.05, False, shown),
            (PLANTED, False, self.trials),
            (0.25, False, shown),
            (0.0, True, quiet),
            (PLANTED, True, loaded),
        )

    def threads_beside(self, *, loaded: bool) -> int:
        """Return the number of threads of a trial: under load one less, for the busy core.

        Threads of torch wait for each other, so one that has to share its core slows all of them,
        and by chance.
        """
        return max(self.threads - loaded, 1)

    @property
    def parts(self) -> int:
        """The number of calls of ``tell``."""
        return 4 + sum(trials for *_, trials in self.arms) + self.gate_pairs


def run_selftest(plan: SelfTestPlan, tell: Tell, measure: Measure | None = None) -> SelfTestReport:
    """Run the self-test.

    Args:
        plan: settings of the self-test.
        tell: function to call with a line of progress before each part.
        measure: function that measures the pair of a trial; by default in fresh processes.
    """
    environment = current_environment(plan.machine, plan.threads)
    tell("coverage of the intervals")
    coverage = tuple(measure_coverage())
    with fresh_worker(plan.threads) as worker:
        tell("planted buffers")
        counts = worker.ask(SELFTEST_SECONDS, measure_counts, plan.device)
    tried, bystanders = measure_contenders(_mixed_plan(plan), tell)
    return SelfTestReport(
        environment=environment,
        trials=tuple(_hold_trials(plan, tell, measure)),
        alarms=tuple(_hold_gates(plan, tell)),
        contenders=tried,
        bystanders=bystanders,
        counts=counts,
        coverage=coverage,
        budget_seconds=plan.budget_seconds,
        processes=plan.processes,
        made=now(),
    )


def _mixed_plan(plan: SelfTestPlan) -> MixedPlan:
    entered = contenders(plan.device)
    if plan.quick:
        entered = tuple(each for each in entered if each.quick)
    return MixedPlan(entered, plan.device, plan.threads)


def _hold_trials(plan: SelfTestPlan, tell: Tell, measure: Measure | None) -> Iterator[PairTrial]:
    """Yield the trials, first without load, then under load; the effects alternate."""
    for loaded in (False, True):
        processes = SamplingProcesses(plan.threads_beside(loaded=loaded), plan.processes)
        with closing(processes), burnt_core() if loaded else nullcontext():
            yield from _hold_arms(plan, tell, measure or processes, loaded=loaded)


def _hold_arms(
    plan: SelfTestPlan, tell: Tell, measure: Measure, *, loaded: bool
) -> Iterator[PairTrial]:
    chosen = cases(plan.device)
    arms = [(effect, count) for effect, under, count in plan.arms if under == loaded]
    for turn in range(plan.trials):
        case = chosen[turn % len(chosen)]
        sampling = Sampling(plan.budget_seconds, seed=turn)
        for effect in (effect for effect, count in arms if turn < count):
            load = ", under load" * loaded
            tell(f"trial {turn + 1}: {case.loss} {case}, {effect:.0%} slower{load}")
            yield hold_trial(case, effect, sampling, measure, loaded=loaded)


def _hold_gates(plan: SelfTestPlan, tell: Tell) -> Iterator[Alarm]:
    """Yield the answers of other tools' gates, for the Cases in turn."""
    chosen = cases(plan.device)
    for turn in range(plan.gate_pairs):
        case = chosen[turn % len(chosen)]
        tell(f"gates, pair {turn + 1}: {case.loss} {case}")
        yield from hold_gates(case, PLANTED, plan.threads)
