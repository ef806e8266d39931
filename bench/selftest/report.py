"""What a self-test found, and whether the harness holds what it promises."""

from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Literal

from pydantic import ConfigDict, RootModel
from pydantic.dataclasses import dataclass

from bench.environment import Environment
from bench.selftest.buffers import Count
from bench.selftest.cheaters import Refusal
from bench.selftest.gates import Alarm
from bench.selftest.trials import Trial

SCHEMA = 1
MOST_FALSE_ALARMS = 0.05
LEAST_FOUND = 0.95
LONGEST_SECONDS = 10.0
PLANTED = 0.10
# Of fewer, one false alarm alone would be more than one in twenty, or tell little more.
FEWEST_TRIALS = 60

Outcome = Literal["holds", "fails", "too few trials to judge"]


@dataclass(frozen=True)
class Share:
    """A share of trials.

    Attributes:
        count: how many did.
        total: of how many.
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share itself, not a number where there were no trials."""
        return self.count / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Its exact 95% confidence interval (Clopper and Pearson 1934)."""
        from scipy.stats import binomtest

        if not self.total:
            return 0.0, 1.0
        found = binomtest(self.count, self.total).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        """Return it in per cent, ``3/60 5% [1, 14]``."""
        if not self.total:
            return "0/0"
        low, high = self.interval
        return f"{self.count}/{self.total} {self.value:.0%} [{100 * low:.0f}, {100 * high:.0f}]"


@plain_dataclass(frozen=True)
class Check:
    """One promise of the harness.

    Attributes:
        promise: what must hold.
        found: what was found.
        outcome: whether it holds.
    """

    promise: str
    found: str
    outcome: Outcome


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings", extra="forbid"))
class Report:
    """All that a self-test found.

    Attributes:
        environment: where and with what.
        made: when, ISO 8601 in UTC.
        budget_seconds: how long each trial could sample.
        processes: how many took samples in each trial.
        trials: of the verdict.
        alarms: of the gates of other tools.
        refusals: of cheaters.
        counts: of planted buffers.
        schema: the version of this layout. 1: the first.
    """

    environment: Environment
    made: str
    budget_seconds: float
    processes: int
    trials: tuple[Trial, ...]
    alarms: tuple[Alarm, ...]
    refusals: tuple[Refusal, ...]
    counts: tuple[Count, ...]
    schema: int = SCHEMA

    def select(self, effect: float, *, loaded: bool) -> list[Trial]:
        """Return the trials of one effect, with or without another process's load."""
        return [t for t in self.trials if t.effect == effect and t.loaded == loaded]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every promise, and whether it holds."""
        return (
            _quiet("A/A", self.select(0, loaded=False)),
            _quiet("A/A, a core burnt beside it", self.select(0, loaded=True)),
            _found(self.select(PLANTED, loaded=False)),
            _all_right(
                "cheaters refused for what they do, honest copies passed",
                [(f"{r.cheat} as {r.loss}", r.right) for r in self.refusals],
            ),
            _all_right(
                "planted buffers counted to the byte", [(c.what, c.right) for c in self.counts]
            ),
        )

    @property
    def exit_code(self) -> int:
        """1 where a promise fails, else 0."""
        return int(any(check.outcome == "fails" for check in self.checks))


class ReportFile(RootModel[Report]):
    """A Report as JSON."""


def share_of(trials: Sequence[Trial], *verdicts: str) -> Share:
    """Return the share of trials that were given one of the verdicts."""
    return Share(sum(trial.verdict in verdicts for trial in trials), len(trials))


def _quiet(what: str, trials: Sequence[Trial]) -> Check:
    share = share_of(trials, "faster", "slower")
    holds = share.value <= MOST_FALSE_ALARMS
    promise = f"{what}: called different in at most {MOST_FALSE_ALARMS:.0%}"
    return Check(promise, str(share), _judged(share, holds=holds))


def _found(trials: Sequence[Trial]) -> Check:
    found = [t for t in trials if t.verdict == "slower" and t.seconds <= LONGEST_SECONDS]
    share = Share(len(found), len(trials))
    promise = (
        f"{PLANTED:.0%} slower: found within {LONGEST_SECONDS:.0f} s in at least {LEAST_FOUND:.0%}"
    )
    return Check(promise, str(share), _judged(share, holds=share.value >= LEAST_FOUND))


def _judged(share: Share, *, holds: bool) -> Outcome:
    if share.total < FEWEST_TRIALS:
        return "too few trials to judge"
    return "holds" if holds else "fails"


def _all_right(promise: str, parts: Sequence[tuple[str, bool]]) -> Check:
    wrong = [name for name, right in parts if not right]
    found = f"{len(parts) - len(wrong)} of {len(parts)}"
    if wrong:
        found += f", not: {'; '.join(wrong)}"
    return Check(promise, found, "fails" if wrong or not parts else "holds")
