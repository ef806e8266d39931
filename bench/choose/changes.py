"""Find what would change the answer: another size, less memory, more steps, fewer constraints."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic.dataclasses import dataclass

from lossbench.bench.choose.candidates import Candidate, ratio_of
from lossbench.bench.choose.ranking import Ranking, winner
from lossbench.bench.choose.request import Request, constraints_of
from lossbench.bench.choose.sources import Pool
from lossbench.bench.errors import UsageError
from lossbench.bench.format import binary
from lossbench.bench.run.economics import break_even_steps
from lossbench.bench.scaling.laws import axes_of

# Number of sizes to try per factor of two, in the search for the first that changes the answer.
TRIED_PER_OCTAVE = 2


@dataclass(frozen=True)
class Change:
    """A change to the request that would change the answer, or the range of an unchanged answer.

    Attributes:
        what: ``batch``, ``dim``, ``classes``, ``max_memory``, ``steps``, or the field of the
            constraint to drop.
        at: value at which the answer changes; ``None`` for a dropped constraint and for a range.
        variant: variant that is then chosen; empty if there is none, or for a range.
        text: the change in words.
    """

    what: str
    at: float | None
    variant: str
    text: str


def changes(pool: Pool, request: Request, ranking: Ranking) -> Iterator[Change]:
    """Yield the changes to a Request that would change the answer."""
    for axis in axes_of(request.case.loss):
        yield from _crossovers(pool, request, axis, ranking)
    yield from _memory_limits(pool, request, ranking.best)
    yield from _break_even(ranking)
    yield from _lifted(pool, request, ranking.best.variant)


def _crossovers(pool: Pool, request: Request, axis: str, ranking: Ranking) -> Iterator[Change]:
    """Yield the nearest size on either side with another winner, and the range of the best variant.

    Compiled variants were measured at a few sizes only, so they would appear and vanish from one
    size to the next. So only variants that are eligible at the requested size are compared, and
    only at sizes at which the best variant was measured.
    """
    best = ranking.best.variant
    rivals = {best, *(runner.candidate.variant for runner in ranking.runners_up)}

    def wins(size: int) -> str | None:
        """Return the best variant at a size; ``None`` if the size was not measured."""
        sizes: dict[str, Any] = {axis: size}
        try:
            there = replace(request, case=replace(request.case, **sizes))
            return winner(pool, there, among=rivals, beside=best).variant
        except UsageError:
            return None

    here = getattr(request.case, axis)
    sizes = [getattr(record.case, axis) for record in pool.records]
    ends = []
    for end, side in ((min(sizes), "up to"), (max(sizes), "from")):
        last, first = _first_change(wins, best, here, end)
        ends.append(last)
        other = wins(first) if first is not None else None
        if other:
            yield Change(axis, first, other, f"{side} {axis} {first}: `{other}`")
    if ends[0] < ends[1]:
        yield Change(
            axis, None, "", f"`{best}` from {axis} {ends[0]} to {ends[1]}, other sizes unchanged"
        )


def _first_change(
    wins: Callable[[int], str | None], best: str, here: int, end: int
) -> tuple[int, int | None]:
    """Return the last size towards an end at which the best variant wins, and the next, if any.

    Sizes are tried in steps of a constant factor. The first step that changes the answer is halved
    until the two sizes differ by one.
    """
    steps = math.ceil(abs(math.log2(end / here)) * TRIED_PER_OCTAVE)
    last = here
    for step in range(1, steps + 1):
        size = round(here * (end / here) ** (step / steps))
        if wins(size) == best:
            last = size
            continue
        other = size
        while abs(other - last) > 1:
            middle = (other + last) // 2
            if wins(middle) == best:
                last = middle
            else:
                other = middle
        return last, other
    return last, None


def _memory_limits(pool: Pool, request: Request, best: Candidate) -> Iterator[Change]:
    """Yield the memory limits at which another variant wins, the nearest first."""
    smaller: Candidate | None = best
    while smaller is not None:
        below = smaller.step_peak_bytes
        smaller = _winner_within(pool, request, below - 1)
        text = f"`{smaller.variant}`" if smaller else "no variant"
        variant = smaller.variant if smaller else ""
        yield Change("max_memory", below, variant, f"with less than {binary(below)}: {text}")
    unlimited = _winner_within(pool, request, None)
    if request.max_memory is not None and unlimited and unlimited.variant != best.variant:
        most = unlimited.step_peak_bytes
        text = f"with {binary(most)} or more: `{unlimited.variant}`"
        yield Change("max_memory", most, unlimited.variant, text)


def _winner_within(pool: Pool, request: Request, most: int | None) -> Candidate | None:
    try:
        return winner(pool, replace(request, max_memory=most))
    except UsageError:
        return None


def _break_even(ranking: Ranking) -> Iterator[Change]:
    """Yield the number of steps after which compiling saves time.

    If several compiled variants are clearly faster, it is the smallest of their numbers.
    """
    everyone = [ranking.best, *(runner.candidate for runner in ranking.runners_up)]
    eager = [candidate for candidate in everyone if not candidate.compiled]
    if not eager:
        return
    fastest = min(eager, key=lambda candidate: candidate.step_seconds)
    best = ranking.best
    clearly = [best] if best.compiled else _clearly_faster(everyone, fastest)
    paid = {compiled.variant: paid_after(compiled, fastest) for compiled in clearly}
    first = min(paid, key=lambda variant: paid[variant], default="")
    if not first or paid[first] == math.inf:
        return
    steps = paid[first]
    if best.compiled:
        text = f"for fewer than {steps:,.0f} steps: `{fastest.variant}`"
        yield Change("steps", steps, fastest.variant, text)
    else:
        yield Change("steps", steps, first, f"from {steps:,.0f} steps on: `{first}`")


def _clearly_faster(candidates: Sequence[Candidate], eager: Candidate) -> list[Candidate]:
    return [c for c in candidates if c.compiled and ratio_of(eager, c).high < 1]


def paid_after(compiled: Candidate, eager: Candidate) -> float:
    """Return the number of steps after which compiling saves time; infinite if it never does."""
    return break_even_steps(compiled.compile_seconds, compiled.step_seconds, eager.step_seconds)


def _lifted(pool: Pool, request: Request, best: str) -> Iterator[Change]:
    """Yield the constraints without which another variant wins, other than the memory limit."""
    for constraint in constraints_of(request):
        if constraint.field == "max_memory":
            continue
        lifted = replace(request, **{constraint.field: constraint.lifted})
        try:
            other = winner(pool, lifted).variant
        except UsageError:
            continue
        if other != best:
            yield Change(constraint.field, None, other, f"{constraint.lift}: `{other}`")
