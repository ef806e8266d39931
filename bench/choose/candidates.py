"""Read the costs of every variant at one size from records, at that size or at sizes around it."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.ratios import (
    UNKNOWN,
    Neighbour,
    mixed_interval,
    quotient,
    ratio_at,
    timing_of,
)
from lossbench.bench.choose.sizes import at_size, mixed, weights_between
from lossbench.bench.choose.sources import Pool
from lossbench.bench.compat.standing import doubt_of
from lossbench.bench.run.order import UNREGISTERED
from lossbench.bench.run.records import Record
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.intervals import Interval
from lossbench.impls.compiled import is_compiled
from lossbench.impls.registry import REFERENCE


@dataclass(frozen=True)
class Size:
    """A measured size that a figure rests on, and its weight.

    Attributes:
        batch: batch size B.
        dim: embedding dimension D.
        classes: number of classes C.
        share: weight in the interpolation; 1 for an exact match.
    """

    batch: int
    dim: int
    classes: int
    share: float


@dataclass(frozen=True, config=KEPT)
class Candidate:
    """A variant that agrees with the reference, with its costs at the requested size.

    Attributes:
        variant: name of the variant.
        step_seconds: time of forward and backward.
        speedup: speed-up over the reference, with its interval; ``None`` if the reference has no
            times.
        step_peak_bytes: most bytes at once above inputs and parameters in a step.
        error: largest relative error against the reference in float64, over all sizes used.
        outputs: names of the outputs that the variant computes.
        compile_seconds: compile time before the first step; 0 if the variant is not compiled.
        worse: degenerate inputs on which it is worse than the reference.
        better: degenerate inputs on which it is better than the reference.
        tried: whether degenerate inputs were tried; they are skipped for compiled variants.
        sizes: measured sizes that the figures rest on.
        processes: number of processes that sampled the times, the fewest over these sizes.
        interpolated: whether these sizes differ from the requested one.
        dirty: whether one of the Records was measured with uncommitted changes.
        validated: whether all of the Records were timed with the checks of inputs, on inputs that
            changed at each call.
        compile_process: ``shared`` if the compile time of one of the Records is of the former
            method and may be too short, else ``fresh``; empty if the variant is not compiled.
        neighbours: measured sizes together with their Records.
    """

    variant: str
    step_seconds: float
    speedup: Interval | None
    step_peak_bytes: int
    error: float
    outputs: tuple[str, ...]
    compile_seconds: float
    worse: tuple[str, ...]
    better: tuple[str, ...]
    tried: bool
    sizes: tuple[Size, ...]
    interpolated: bool
    processes: int | None = None
    dirty: bool = False
    validated: bool | None = None
    compile_process: str = ""
    neighbours: Annotated[tuple[Neighbour, ...], Field(exclude=True, repr=False)] = ()

    @property
    def compiled(self) -> bool:
        """Whether the variant is compiled by torch.compile."""
        return is_compiled(self.variant)

    def total_seconds(self, steps: int | None) -> float:
        """Return the time to minimise: compiling and all steps, or one step without ``steps``."""
        if steps is None:
            return self.step_seconds
        return self.compile_seconds + steps * self.step_seconds


@dataclass(frozen=True)
class Excluded:
    """A variant that is not eligible.

    Attributes:
        variant: name of the variant.
        kind: kind of reason: ``departs`` (declared not equal to the loss), ``unmeasured`` at this
            size, ``no times`` in its records, a ``constraint`` that it does not meet,
            ``unregistered`` (no longer an implementation), or ``unproven`` (wrong on the torch that
            runs, or not tried on it).
        reason: reason in one line.
    """

    variant: str
    kind: Literal["departs", "unmeasured", "no times", "constraint", "unregistered", "unproven"]
    reason: str


def candidates_at(pool: Pool, case: Case) -> tuple[list[Candidate], list[Excluded]]:
    """Return the variants with their costs in a Case, from a pool, and the excluded variants."""
    running = [each for each in impls.implementations(case.loss) if case.device in each.devices]
    seen = [_look(pool, case, each) for each in running]
    found = [each for each in seen if isinstance(each, Candidate)]
    return found, [*(each for each in seen if isinstance(each, Excluded)), *_gone(pool)]


def _gone(pool: Pool) -> list[Excluded]:
    """Return the variants that have records, but no implementation any more."""
    gone = dict.fromkeys(each.variant for each in pool.records if not each.registered)
    return [Excluded(variant, "unregistered", UNREGISTERED) for variant in gone]


def _look(pool: Pool, case: Case, implementation: impls.Implementation) -> Candidate | Excluded:
    variant, references = implementation.variant, pool.of(REFERENCE)
    if implementation.departs:
        return Excluded(variant, "departs", f"departs: {implementation.departs}")
    records = pool.of(variant)
    doubt = doubt_of(implementation, case.device, pool.host.torch) if records else ""
    if doubt:
        return Excluded(variant, "unproven", doubt)
    weights = weights_between(case, sorted(records, key=_sizes))
    if weights is None:
        return Excluded(variant, "unmeasured", "not measured at this size")
    neighbours = tuple(
        Neighbour(
            weight,
            records[near],
            references.get(near),
            tuple(r for r in pool.history if r.cell == (near, variant) and r.step),
        )
        for near, weight in weights.items()
    )
    lost = _lost(neighbour.record for neighbour in neighbours)
    return (
        Excluded(variant, "no times", lost)
        if lost
        else _candidate(case, implementation, neighbours)
    )


def _sizes(case: Case) -> tuple[int, ...]:
    return case.batch, case.dim, case.classes


def _lost(records: Iterable[Record]) -> str:
    """Return the reason why a variant has no times at one of the sizes, or an empty text."""
    for record in records:
        if record.step is None or record.memory is None:
            return f"{record.status} at {record.case}: {record.reason}"
    return ""


def _candidate(
    case: Case, implementation: impls.Implementation, neighbours: tuple[Neighbour, ...]
) -> Candidate:
    weights = [neighbour.weight for neighbour in neighbours]
    records = [neighbour.record for neighbour in neighbours]
    cases = [record.case for record in records]
    nearest = max(neighbours, key=lambda neighbour: neighbour.weight).record
    return Candidate(
        variant=implementation.variant,
        step_seconds=mixed(weights, (neighbour.seconds for neighbour in neighbours)),
        speedup=_speedup(weights, records),
        step_peak_bytes=round(mixed(weights, map(_step_peak_bytes, records))),
        error=max(part.error for record in records for part in record.agreement),
        outputs=implementation.outputs,
        compile_seconds=max(map(_compile_seconds, records)),
        worse=tuple(part.input for part in nearest.conformance if part.grade == "worse"),
        better=tuple(part.input for part in nearest.conformance if part.grade == "better"),
        tried=bool(nearest.conformance),
        sizes=tuple(
            Size(near.batch, near.dim, near.classes, weight)
            for near, weight in zip(cases, weights, strict=True)
        ),
        interpolated=not at_size(case, cases),
        processes=min(len(timing_of(record).processes) for record in records),
        dirty=any(record.environment.dirty for record in records),
        validated=all(record.validated for record in records),
        compile_process=_compile_process(records),
        neighbours=neighbours,
    )


def _speedup(weights: list[float], records: list[Record]) -> Interval | None:
    intervals = [timing_of(record).speedup for record in records]
    known = [interval for interval in intervals if interval is not None]
    return mixed_interval(weights, known) if len(known) == len(intervals) else None


def _step_peak_bytes(record: Record) -> int:
    return record.memory.step_peak_bytes if record.memory else 0


def _compile_seconds(record: Record) -> float:
    return record.compilation.compile_seconds if record.compilation else 0.0


def _compile_process(records: Iterable[Record]) -> str:
    fresh = {record.compilation.fresh for record in records if record.compilation}
    return ("fresh" if fresh == {True} else "shared") if fresh else ""


def ratio_of(first: Candidate, second: Candidate) -> Interval:
    """Return the second's time of a step over the first's."""
    mine, others = first.neighbours, second.neighbours
    if [each.record.case for each in mine] == [each.record.case for each in others]:
        ratios = [ratio_at(one, other) for one, other in zip(mine, others, strict=True)]
        return mixed_interval([each.weight for each in mine], ratios)
    if first.speedup is None or second.speedup is None:
        return Interval(second.step_seconds / first.step_seconds, *UNKNOWN)
    return quotient(first.speedup, second.speedup)
