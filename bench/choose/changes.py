"""Find what would change the answer: a flag, another size, less memory, more steps."""

from collections.abc import Iterator
from dataclasses import replace

from pydantic.dataclasses import dataclass

from lossbench.bench.choose.candidates import Candidate
from lossbench.bench.choose.crossovers import crossovers
from lossbench.bench.choose.ranking import Ranking, total_ratio, winner
from lossbench.bench.choose.request import Request, constraints_of
from lossbench.bench.choose.sources import Pool
from lossbench.bench.errors import UsageError
from lossbench.bench.format import binary, rounded
from lossbench.bench.run.economics import break_even_steps
from lossbench.bench.scaling.laws import axes_of
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.intervals import Interval
from lossbench.impls.estimate import LEAST_GAIN, is_gain


@dataclass(frozen=True, config=KEPT)
class Alternative:
    """A faster variant that one constraint hides.

    Attributes:
        lift: option or limit that admits it, in words.
        candidate: the variant, with its costs.
        ratio: time of the chosen variant over its time.
        steps: number of steps after which it has saved its compile time; 0 if it is not compiled.
    """

    lift: str
    candidate: Candidate
    ratio: Interval
    steps: float


@dataclass(frozen=True)
class Change:
    """A change to the request that would change the answer.

    Attributes:
        what: ``batch``, ``dim``, ``classes``, ``max_memory`` or ``steps``.
        at: value at which the answer changes.
        variant: variant that is then chosen; empty if there is none.
        text: the change in words.
    """

    what: str
    at: float
    variant: str
    text: str


def alternatives(pool: Pool, request: Request, best: Candidate) -> Iterator[Alternative]:
    """Yield the winner without each constraint, if it gains by it; memory limits aside."""
    for constraint in constraints_of(request):
        if constraint.field == "max_memory":
            continue
        lifted = replace(request, **{constraint.field: constraint.lifted})
        other = _winner(pool, lifted)
        if other is None or other.variant == best.variant:
            continue
        ratio = total_ratio(other, best, request)
        if is_gain(ratio.median):
            yield Alternative(constraint.lift, other, ratio, paid_after(other, best))


def changes(pool: Pool, request: Request, ranking: Ranking) -> Iterator[Change]:
    """Yield the changes to a Request that would change the answer."""
    for axis in axes_of(request.case.loss):
        found = crossovers(pool, request, axis, ranking.best.variant)
        for side, (size, variant) in found.items():
            text = f"{side} {axis} {rounded(size)} or so: `{variant}`"
            yield Change(axis, size, variant, text)
    yield from _memory_limits(pool, request, ranking.best)
    yield from _break_even(ranking)


def _memory_limits(pool: Pool, request: Request, best: Candidate) -> Iterator[Change]:
    """Yield the memory limits at which another variant wins, the nearest first."""
    smaller: Candidate | None = best
    while smaller is not None:
        told = binary(smaller.told_peak_bytes)
        # Nobody sets a limit between two peaks that read the same.
        while smaller is not None and binary(smaller.told_peak_bytes) == told:
            below = smaller.step_peak_bytes
            smaller = _winner(pool, replace(request, max_memory=below - 1))
        text = f"`{smaller.variant}`" if smaller else "no variant"
        variant = smaller.variant if smaller else ""
        yield Change("max_memory", below, variant, f"with less than {told}: {text}")
    unlimited = _winner(pool, replace(request, max_memory=None))
    if request.max_memory is not None and unlimited and unlimited.variant != best.variant:
        most = unlimited.step_peak_bytes
        text = f"with {binary(most)} or more: `{unlimited.variant}`"
        yield Change("max_memory", most, unlimited.variant, text)


def _winner(pool: Pool, request: Request) -> Candidate | None:
    try:
        return winner(pool, request)
    except UsageError:
        return None


def _break_even(ranking: Ranking) -> Iterator[Change]:
    """Yield the number of steps after which compiling saves time.

    If several compiled variants are faster, it is the smallest of their numbers.
    """
    everyone = [ranking.best, *(runner.candidate for runner in ranking.runners_up)]
    eager = [candidate for candidate in everyone if not candidate.compiled]
    if not eager:
        return
    fastest = min(eager, key=lambda candidate: candidate.ranked_seconds)
    best = ranking.best
    faster = [c for c in everyone if c.ranked_seconds * LEAST_GAIN <= fastest.ranked_seconds]
    paid = {c.variant: paid_after(c, fastest) for c in faster if c.compiled}
    if best.variant in paid:
        steps = paid[best.variant]
        text = f"for fewer than {rounded(steps)} steps: `{fastest.variant}`"
        yield Change("steps", steps, fastest.variant, text)
    elif paid:
        first = min(paid, key=lambda variant: paid[variant])
        text = f"from {rounded(paid[first])} steps on: `{first}`"
        yield Change("steps", paid[first], first, text)


def paid_after(other: Candidate, eager: Candidate) -> float:
    """Return the steps after which compiling saves time; infinite if never, 0 if not compiled."""
    if not other.compiled:
        return 0.0
    return break_even_steps(other.compile_seconds, other.ranked_seconds, eager.ranked_seconds)
