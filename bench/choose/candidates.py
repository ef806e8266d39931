"""What the records say of every variant at one size, measured there or between measured sizes."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

import impls
from bench.cases import Case
from bench.choose.ratios import UNKNOWN, mixed_interval, quotient, timing_of
from bench.choose.shares import Share, ratio_at
from bench.choose.sizes import at_size, weights_between
from bench.choose.sources import Pool
from bench.intervals import Interval
from bench.measure import REFERENCE
from bench.records import Record

# Where a step takes no byte there is no logarithm.
TINY = 1e-12


@dataclass(frozen=True)
class Size:
    """A measured size that a figure rests on, and its share.

    Attributes:
        batch: B.
        dim: D.
        classes: C.
        share: 1 where it is the very size.
    """

    batch: int
    dim: int
    classes: int
    share: float


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Candidate:
    """A variant that agrees with the reference, and what it costs at the size that is asked for.

    Attributes:
        variant: which.
        step_seconds: of forward and backward.
        speedup: over the reference, with its interval; ``None`` where that has no times.
        peak_bytes: the most at once above inputs and parameters in a step.
        error: the largest relative error against the reference in float64; between sizes the
            largest of theirs.
        outputs: those that it computes.
        compile_seconds: before the first step; 0 where it is not compiled.
        worse: degenerate inputs on which it does worse than the reference.
        better: those on which it does better.
        tried: whether degenerate inputs were tried; compiled variants are not.
        sizes: the measured sizes that this rests on.
        interpolated: whether they are others than the one that is asked for.
        shares: the same as Records.
    """

    variant: str
    step_seconds: float
    speedup: Interval | None
    peak_bytes: int
    error: float
    outputs: tuple[str, ...]
    compile_seconds: float
    worse: tuple[str, ...]
    better: tuple[str, ...]
    tried: bool
    sizes: tuple[Size, ...]
    interpolated: bool
    shares: Annotated[tuple[Share, ...], Field(exclude=True, repr=False)] = ()

    def total_seconds(self, steps: int | None) -> float:
        """Return what is to be least: compiling and all steps, or where these are open one step."""
        if steps is None:
            return self.step_seconds
        return self.compile_seconds + steps * self.step_seconds


@dataclass(frozen=True)
class Excluded:
    """A variant that is not eligible.

    Attributes:
        variant: which.
        kind: whether it ``departs`` from the loss, was not measured at this size, has no times
            where it was, or does not meet a constraint.
        reason: in a line.
    """

    variant: str
    kind: Literal["departs", "unmeasured", "no times", "constraint"]
    reason: str


def candidates_at(pool: Pool, case: Case) -> tuple[list[Candidate], list[Excluded]]:
    """Return the variants of which a pool tells what they cost in a Case, and the others."""
    running = [each for each in impls.implementations(case.loss) if case.device in each.devices]
    seen = [_look(pool, case, each) for each in running]
    found = [each for each in seen if isinstance(each, Candidate)]
    return found, [each for each in seen if isinstance(each, Excluded)]


def _look(pool: Pool, case: Case, implementation: impls.Implementation) -> Candidate | Excluded:
    variant, references = implementation.variant, pool.of(REFERENCE)
    if implementation.departs:
        return Excluded(variant, "departs", f"departs: {implementation.departs}")
    records = pool.of(variant)
    weights = weights_between(case, sorted(records, key=_sizes))
    if weights is None:
        return Excluded(variant, "unmeasured", "not measured at this size")
    shares = tuple(
        Share(
            weight,
            records[near],
            references.get(near),
            tuple(r for r in pool.history if r.cell == (near, variant) and r.step),
        )
        for near, weight in weights.items()
    )
    lost = _lost(shares)
    return Excluded(variant, "no times", lost) if lost else _candidate(case, shares)


def _sizes(case: Case) -> tuple[int, ...]:
    return case.batch, case.dim, case.classes


def _lost(shares: tuple[Share, ...]) -> str:
    """Return why a variant has no times at one of the sizes, or nothing."""
    for share in shares:
        record = share.record
        if record.step is None or record.memory is None:
            return f"{record.status} at {record.case}: {record.reason}"
    return ""


def _candidate(case: Case, shares: tuple[Share, ...]) -> Candidate:
    records = [share.record for share in shares]
    cases = [record.case for record in records]
    nearest = max(shares, key=lambda share: share.weight).record
    return Candidate(
        variant=nearest.variant,
        step_seconds=_mixed(shares, [share.seconds for share in shares]),
        speedup=_speedup(shares),
        peak_bytes=round(_mixed(shares, [_peak_bytes(record) for record in records])),
        error=max(part.error for record in records for part in record.agreement),
        outputs=tuple(sorted(set.intersection(*map(_outputs, records)))),
        compile_seconds=max(_compile_seconds(record) for record in records),
        worse=tuple(part.input for part in nearest.conformance if part.grade == "worse"),
        better=tuple(part.input for part in nearest.conformance if part.grade == "better"),
        tried=bool(nearest.conformance),
        sizes=tuple(
            Size(near.batch, near.dim, near.classes, share.weight)
            for near, share in zip(cases, shares, strict=True)
        ),
        interpolated=not at_size(case, cases),
        shares=shares,
    )


def _mixed(shares: tuple[Share, ...], values: Sequence[float]) -> float:
    """Return a positive quantity between sizes: a straight line in its and their logarithms."""
    logs = [math.log(max(value, TINY)) for value in values]
    return math.exp(sum(share.weight * x for share, x in zip(shares, logs, strict=True)))


def _speedup(shares: tuple[Share, ...]) -> Interval | None:
    intervals = [timing_of(share.record).speedup for share in shares]
    known = [interval for interval in intervals if interval is not None]
    if len(known) < len(intervals):
        return None
    return mixed_interval([share.weight for share in shares], known)


def _peak_bytes(record: Record) -> int:
    return record.memory.step_peak_bytes if record.memory else 0


def _compile_seconds(record: Record) -> float:
    return record.compilation.compile_seconds if record.compilation else 0.0


def _outputs(record: Record) -> set[str]:
    """Return the outputs that were computed, and so could be compared."""
    names = (part.quantity.partition(".") for part in record.agreement)
    return {name for kind, _, name in names if kind == "out"}


def ratio_of(first: Candidate, second: Candidate) -> Interval:
    """Return the second's time of a step over the first's."""
    sizes = [share.record.case for share in first.shares]
    if sizes == [share.record.case for share in second.shares]:
        ratios = [
            ratio_at(one, other) for one, other in zip(first.shares, second.shares, strict=True)
        ]
        return mixed_interval([share.weight for share in first.shares], ratios)
    if first.speedup is None or second.speedup is None:
        return Interval(second.step_seconds / first.step_seconds, *UNKNOWN)
    return quotient(first.speedup, second.speedup)
