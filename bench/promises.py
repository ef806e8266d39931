"""Check promises by trials: the share of trials that kept a promise, its interval, the outcome."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from lossbench.bench.stamped import Stamped

MOST_FALSE_ALARMS = 0.05
LEAST_FOUND = 0.95

Outcome = Literal["holds", "fails", "too few trials to judge"]


@dataclass(frozen=True)
class Share:
    """A share of trials.

    Attributes:
        count: number of trials in the share.
        total: number of all trials.
    """

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share as a number; NaN without trials."""
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
        """Return the share and its interval in per cent: ``3/60 5% [1, 14]``."""
        if not self.total:
            return "0/0"
        low, high = self.interval
        return f"{self.count}/{self.total} {self.value:.0%} [{100 * low:.0f}, {100 * high:.0f}]"


@dataclass(frozen=True)
class Check:
    """One promise, and the result of its check.

    Attributes:
        promise: text of the promise.
        found: measured result, as text.
        outcome: result of the check.
    """

    promise: str
    found: str
    outcome: Outcome


def judge_promise(promise: str, share: Share, *, holds: bool, fewest: int = 1) -> Check:
    """Return the result of checking a promise.

    Args:
        promise: text of the promise.
        share: measured share of trials.
        holds: whether the share keeps the promise.
        fewest: smallest number of trials that decides.
    """
    outcome: Outcome = "holds" if holds else "fails"
    if share.total < fewest:
        outcome = "too few trials to judge"
    return Check(promise, str(share), outcome)


class Judged(Stamped, ABC):
    """A report that checks promises."""

    @property
    @abstractmethod
    def checks(self) -> tuple[Check, ...]:
        """Every promise, with the result of its check."""

    @property
    def exit_code(self) -> int:
        """1 if a promise fails, else 0."""
        return int(any(check.outcome == "fails" for check in self.checks))
