"""The results of a self-test, and the check of the harness's promises."""

from collections.abc import Sequence

from pydantic.dataclasses import dataclass

from lossbench.bench.promises import (
    LEAST_FOUND,
    MOST_FALSE_ALARMS,
    Check,
    Judged,
    Share,
    judge_promise,
)
from lossbench.bench.selftest.buffers import Count
from lossbench.bench.selftest.coverage import LEAST_COVERED, Coverage
from lossbench.bench.selftest.gates import Alarm
from lossbench.bench.selftest.mixed import Bystander, Tried
from lossbench.bench.selftest.trials import PairTrial

# 1: cheaters in one process, without coverage. 2: contenders in a run.
SCHEMA = 2
LONGEST_SECONDS = 10.0
PLANTED = 0.10
# With fewer than 20 trials, one false alarm alone would break the promise of at most 5%; and with
# few more the share is still too uncertain.
FEWEST_TRIALS = 60
# Under load 19 of 20 are to be found: more trials would take too long.
FEWEST_LOADED_TRIALS = 20
FEWEST_BYSTANDERS = 20


@dataclass(frozen=True, kw_only=True)
class SelfTestReport(Judged):
    """The results of a self-test; ``budget_seconds`` is the time of each process of a trial.

    Attributes:
        processes: number of processes that sampled in each trial.
        trials: trials of the verdict.
        alarms: answers of the gates of other tools.
        contenders: outcomes of all contenders.
        bystanders: honest variants beside them.
        counts: counts of the planted buffers.
        coverage: coverage of the intervals, by simulation.
    """

    processes: int
    trials: tuple[PairTrial, ...]
    alarms: tuple[Alarm, ...]
    contenders: tuple[Tried, ...]
    bystanders: tuple[Bystander, ...]
    counts: tuple[Count, ...]
    coverage: tuple[Coverage, ...]
    schema: int = SCHEMA

    def select(self, effect: float, *, loaded: bool) -> list[PairTrial]:
        """Return the trials of one effect, with or without another process's load."""
        return [t for t in self.trials if t.effect == effect and t.loaded == loaded]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every promise, with the result of its check."""
        return (
            _quiet("A/A", self.select(0, loaded=False)),
            _quiet("A/A, another process using a core", self.select(0, loaded=True)),
            _found("", self.select(PLANTED, loaded=False), FEWEST_TRIALS),
            _found(
                ", another process using a core",
                self.select(PLANTED, loaded=True),
                FEWEST_LOADED_TRIALS,
            ),
            _all_right(
                "contenders refused or lost for the right reason, honest ones passed",
                [(f"{each.name} as {each.loss}", each.right) for each in self.contenders],
            ),
            _all_right(
                "honest results, memory and counts as in a run without the bad ones",
                [
                    (f"{each.loss} {each.variant}: {each.difference}", not each.difference)
                    for each in self.bystanders
                ],
            ),
            _undisturbed(self.bystanders),
            _all_right(
                "planted buffers counted to the byte", [(c.what, c.right) for c in self.counts]
            ),
            _covered(self.coverage),
        )


def share_of(trials: Sequence[PairTrial], *verdicts: str) -> Share:
    """Return the share of trials that got one of the verdicts."""
    return Share(sum(trial.verdict in verdicts for trial in trials), len(trials))


def _quiet(what: str, trials: Sequence[PairTrial]) -> Check:
    share = share_of(trials, "faster", "slower")
    promise = f"{what}: called different in at most {MOST_FALSE_ALARMS:.0%}"
    return judge_promise(
        promise, share, holds=share.value <= MOST_FALSE_ALARMS, fewest=FEWEST_TRIALS
    )


def _undisturbed(bystanders: Sequence[Bystander]) -> Check:
    """Check the times of honest variants by the share of false alarms between two equal runs."""
    timed = [each for each in bystanders if each.loss]
    share = Share(sum(bool(each.times) for each in timed), len(timed))
    return judge_promise(
        "honest variants in a run without the bad ones: called different in at most "
        f"{MOST_FALSE_ALARMS:.0%}",
        share,
        holds=share.value <= MOST_FALSE_ALARMS,
        fewest=FEWEST_BYSTANDERS,
    )


def _found(load: str, trials: Sequence[PairTrial], fewest: int) -> Check:
    found = [t for t in trials if t.verdict == "slower" and t.seconds <= LONGEST_SECONDS]
    share = Share(len(found), len(trials))
    promise = (
        f"{PLANTED:.0%} slower{load}: found within {LONGEST_SECONDS:.0f} s in at least "
        f"{LEAST_FOUND:.0%}"
    )
    return judge_promise(promise, share, holds=share.value >= LEAST_FOUND, fewest=fewest)


def _covered(coverage: Sequence[Coverage]) -> Check:
    promise = f"95% intervals contain the true ratio in at least {LEAST_COVERED:.0%}"
    promised = [each for each in coverage if each.promised]
    return _all_right(
        promise,
        [(f"{c.noise}, {c.rounds} rounds, {c.processes} processes", c.right) for c in promised],
    )


def _all_right(promise: str, parts: Sequence[tuple[str, bool]]) -> Check:
    wrong = [name for name, right in parts if not right]
    found = f"{len(parts) - len(wrong)} of {len(parts)}"
    if wrong:
        found += f", not: {'; '.join(wrong)}"
    return Check(promise, found, "fails" if wrong or not parts else "holds")
