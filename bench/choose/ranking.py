"""Rank the eligible variants by time, and say how certain the first place is."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal

from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.candidates import Candidate, Excluded, candidates_at, ratio_of
from lossbench.bench.choose.request import Request, admitted
from lossbench.bench.choose.sources import NotMeasured, Pool
from lossbench.bench.scaling.laws import axes_of
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.intervals import Interval
from lossbench.bench.timing.samples import SAME_MARGIN

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
        best: fastest variant; a compiled one only if it is clearly faster than every eager one.
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
        low, high = self.rival.ratio.low, self.rival.ratio.high
        if low >= 1 / (1 + SAME_MARGIN) and high <= 1 + SAME_MARGIN:
            return "same"
        return "clear" if low > 1 else "unclear"


def rank(pool: Pool, request: Request) -> Ranking:
    """Return the ranking of a Request from the records of a pool.

    Raises:
        NotMeasured: if the pool has no variant at that size.
        UsageError: if no variant meets the constraints.
    """
    order, excluded = _eligible(pool, request, *candidates_at(pool, request.case))
    best, *others = order
    runners_up = [_runner_up(best, other, request) for other in others]
    runners_up.sort(key=lambda runner: runner.ratio.median)
    return Ranking(best, tuple(runners_up), tuple(excluded))


def _runner_up(best: Candidate, other: Candidate, request: Request) -> RunnerUp:
    """Return a runner-up, its time computed from the best one's time and the ratio of both."""
    seconds = best.step_seconds * ratio_of(best, other).median
    return RunnerUp(replace(other, step_seconds=seconds), _total_ratio(best, other, request))


def winner(
    pool: Pool, request: Request, among: Collection[str] = (), beside: str = ""
) -> Candidate:
    """Return the best variant alone.

    Args:
        pool: records of one machine.
        request: Case and constraints.
        among: names of the variants to choose from; empty for all.
        beside: name of a variant that must have been measured at this size, eligible or not.

    Raises:
        NotMeasured: if the pool has no variant at that size, or not ``beside``.
        UsageError: if no variant meets the constraints.
    """
    candidates, excluded = candidates_at(pool, request.case)
    left = [each for each in candidates if not among or each.variant in among]
    if beside and beside not in {each.variant for each in left}:
        raise NotMeasured(_unmeasured(pool, request, excluded))
    return _eligible(pool, request, left, excluded)[0][0]


def _eligible(
    pool: Pool, request: Request, candidates: list[Candidate], excluded: list[Excluded]
) -> tuple[list[Candidate], list[Excluded]]:
    """Return the candidates that meet the constraints, the best first, and the others."""
    if not candidates:
        raise NotMeasured(_unmeasured(pool, request, excluded))
    left, refused = admitted(request, candidates)
    order = sorted(left, key=lambda candidate: candidate.total_seconds(request.steps))
    return _proven(order, request), [
        *excluded,
        *(Excluded(name, "constraint", why) for name, why in refused.items()),
    ]


def _proven(order: list[Candidate], request: Request) -> list[Candidate]:
    """Put a compiled variant first only if it is clearly faster than every eager one.

    A compiled variant needs a compiler, delays every start, and was not tried on degenerate inputs.
    """
    eager = next((each for each in order if not each.compiled), order[0])
    faster = order[: order.index(eager)]
    proven = [each for each in faster if _total_ratio(each, eager, request).low > 1]
    best = proven[0] if proven else eager
    return [best, *(each for each in order if each is not best)]


def _unmeasured(pool: Pool, request: Request, excluded: Sequence[Excluded]) -> str:
    case = request.case
    failed = [each for each in excluded if each.kind == "no times"]
    if failed:
        reasons = "; ".join(f"{each.variant} {each.reason}" for each in failed)
        return f"no variant of `{case.loss}` was timed at {case} on {pool.host.machine}: {reasons}"
    cases = [record.case for record in pool.records]
    spans = ", ".join(_span(axis, cases) for axis in axes_of(case.loss))
    return (
        f"`{case.loss}` was not measured at {case} on {pool.host.machine}, nor at sizes all around "
        f"it; records cover {spans}. --measure measures it"
    )


def _span(axis: str, cases: Sequence[Case]) -> str:
    sizes = [getattr(case, axis) for case in cases]
    low, high = min(sizes), max(sizes)
    return f"{axis} {low}" if low == high else f"{axis} {low} to {high}"


def _total_ratio(best: Candidate, other: Candidate, request: Request) -> Interval:
    """Return the other's total time over the best one's; only the ratio of steps is uncertain."""
    ratio = ratio_of(best, other)
    if request.steps is None:
        return ratio
    stepping, total = request.steps * best.step_seconds, best.total_seconds(request.steps)
    ends = (
        (other.compile_seconds + stepping * x) / total
        for x in (ratio.median, ratio.low, ratio.high)
    )
    return Interval(*ends)
