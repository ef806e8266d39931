"""Rank the eligible variants by time, and say how certain the first place is."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic.dataclasses import dataclass

from lossbench.bench.choose.candidates import (
    Candidate,
    Excluded,
    candidates_at,
    ratio_of,
    with_speedup,
)
from lossbench.bench.choose.request import Request, admitted
from lossbench.bench.choose.sources import NotMeasured, Pool
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.intervals import Interval
from lossbench.impls.estimate import SAME_MARGIN, preferred_order

Lead = Literal["clear", "same", "unclear", "only one"]


@dataclass(frozen=True, config=KEPT)
class RunnerUp:
    """An eligible variant that is not the best.

    Attributes:
        candidate: the variant, with its costs.
        ratio: time over the best variant's time, with compiling if the request has ``steps``.
    """

    candidate: Candidate
    ratio: Interval


@dataclass(frozen=True)
class Ranking:
    """The eligible variants, the best first, and the excluded ones.

    Attributes:
        best: fastest variant; a compiled one only if it is a tenth faster than every eager one.
        runners_up: other eligible variants, the fastest first.
        excluded: variants that are not eligible.
    """

    best: Candidate
    runners_up: tuple[RunnerUp, ...]
    excluded: tuple[Excluded, ...]

    @property
    def rival(self) -> RunnerUp | None:
        """The runner-up most likely to be faster after all; ``None`` without runners-up."""
        return min(self.runners_up, key=lambda runner: runner.ratio.low, default=None)

    @property
    def verdict(self) -> Lead:
        """The certainty of the first place: ``same`` if the rival's time is within 2% of it."""
        if self.rival is None:
            return "only one"
        if self.rival.ratio.is_near_one(SAME_MARGIN):
            return "same"
        return "clear" if self.rival.ratio.low > 1 else "unclear"

    @property
    def regret(self) -> float:
        """The share of time that the wrong one of the best variant and its rival costs at most."""
        if self.rival is None:
            return 0.0
        low, high = self.rival.ratio.low, self.rival.ratio.high
        return max(1 / low if low > 0 else math.inf, high) - 1


def rank(pool: Pool, request: Request) -> Ranking:
    """Return the ranking of a Request from the records of a pool.

    Raises:
        NotMeasured: if no variant was timed.
        UsageError: if no variant meets the constraints.
    """
    order, excluded = _eligible(pool, request, *candidates_at(pool, request.case))
    best, *others = (with_speedup(each, pool, request.case) for each in order)
    runners_up = [_runner_up(best, other, request) for other in others]
    runners_up.sort(key=lambda runner: runner.ratio.median)
    return Ranking(best, tuple(runners_up), tuple(excluded))


def _runner_up(best: Candidate, other: Candidate, request: Request) -> RunnerUp:
    """Return a runner-up, ranked by the best one's time and the ratio of both."""
    seconds = best.ranked_seconds * ratio_of(best, other, request.case).median
    shown = other.step_seconds if other.basis == "measured" else seconds
    ranked = replace(other, step_seconds=shown, ranked_seconds=seconds)
    return RunnerUp(ranked, total_ratio(best, other, request))


def winner(pool: Pool, request: Request) -> Candidate:
    """Return the best variant alone.

    Raises:
        NotMeasured: if no variant was timed.
        UsageError: if no variant meets the constraints.
    """
    return contenders(pool, request)[0]


def contenders(pool: Pool, request: Request) -> list[Candidate]:
    """Return the eligible variants without their speed-ups, the best first.

    Raises:
        NotMeasured: if no variant was timed.
        UsageError: if no variant meets the constraints.
    """
    return _eligible(pool, request, *candidates_at(pool, request.case))[0]


def _eligible(
    pool: Pool, request: Request, candidates: list[Candidate], excluded: list[Excluded]
) -> tuple[list[Candidate], list[Excluded]]:
    """Return the candidates that meet the constraints, the best first, and the others."""
    if not candidates:
        raise NotMeasured(_unmeasured(pool, request, excluded))
    left, refused = admitted(request, candidates)
    by_name = {candidate.variant: candidate for candidate in left}
    order = preferred_order(
        {candidate.variant: candidate.ranked_seconds for candidate in left},
        {candidate.variant: candidate.total_seconds(request.steps) for candidate in left},
        modelled=[candidate.variant for candidate in left if candidate.basis != "measured"],
    )
    return [by_name[variant] for variant in order], [
        *excluded,
        *(Excluded(name, "constraint", why) for name, why in refused.items()),
    ]


def _unmeasured(pool: Pool, request: Request, excluded: Sequence[Excluded]) -> str:
    case = request.case
    failed = [each for each in excluded if each.kind == "no times"]
    if failed:
        reasons = "; ".join(f"{each.variant} {each.reason}" for each in failed)
        return f"no variant of `{case.loss}` was timed at {case} on {pool}: {reasons}"
    return f"no variant of `{case.loss}` was timed on {pool}; --measure times them"


def total_ratio(best: Candidate, other: Candidate, request: Request) -> Interval:
    """Return the other's total time over the best one's; only the ratio of steps is uncertain."""
    ratio = ratio_of(best, other, request.case)
    if request.steps is None:
        return ratio
    stepping, total = request.steps * best.ranked_seconds, best.total_seconds(request.steps)
    ends = (
        (other.compile_seconds + stepping * x) / total
        for x in (ratio.median, ratio.low, ratio.high)
    )
    return Interval(*ends)
