"""Read the costs of every variant at one size, from its records or from its curves."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.models import VariantModel, ratio_between
from lossbench.bench.choose.ratios import timing_of
from lossbench.bench.choose.sources import Pool
from lossbench.bench.compat.standing import doubt_of
from lossbench.bench.run.order import UNREGISTERED
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.intervals import Interval
from lossbench.impls.compiled import is_compiled
from lossbench.impls.registry import REFERENCE

FAR = "measured only at other sizes, too few or too distant to tell"
Basis = Literal["measured", "modelled", "extrapolated"]


@dataclass(frozen=True, config=KEPT)
class Candidate:
    """A variant that agrees with the reference, with its costs at the requested size.

    Attributes:
        variant: name of the variant.
        step_seconds: time of forward and backward: the Record's median, or else modelled.
        ranked_seconds: time that variants are ranked by: the reference's time over the paired
            speed-up, because load changes times but hardly their ratio.
        speedup: speed-up over the reference, with its interval; ``None`` if the reference has no
            times, or in a search for the fastest alone.
        step_peak_bytes: most bytes at once above inputs and parameters in a step.
        error: largest relative error against the reference in float64, over all measured sizes.
        outputs: names of the outputs that the variant computes.
        compile_seconds: compile time before the first step; 0 if the variant is not compiled.
        worse: degenerate inputs on which it is worse than the reference.
        better: degenerate inputs on which it is better than the reference.
        tried: whether degenerate inputs were tried; they are skipped for compiled variants.
        basis: ``measured`` at this size, ``modelled`` from sizes within a factor of 10, or
            ``extrapolated``, from fewer or more distant sizes.
        sizes: number of measured sizes that the figures rest on.
        model_error: largest relative error of the modelled time in nine of ten sizes when each was
            left out; ``None`` if the time was measured, or too few sizes were.
        processes: number of processes that sampled the times, the fewest over these sizes.
        dirty: whether one of the Records was measured with uncommitted changes.
        validated: whether all of the Records were timed with the checks of inputs, on inputs that
            changed at each call.
        compile_process: ``shared`` if the compile time is of the former method and may be too
            short, else ``fresh``; empty if the variant is not compiled.
        model: records and curves of the variant.
    """

    variant: str
    step_seconds: float
    ranked_seconds: float
    speedup: Interval | None
    step_peak_bytes: int
    error: float
    outputs: tuple[str, ...]
    compile_seconds: float
    worse: tuple[str, ...]
    better: tuple[str, ...]
    tried: bool
    basis: Basis
    sizes: int
    model_error: float | None
    processes: int
    dirty: bool
    validated: bool
    compile_process: str
    model: Annotated[VariantModel | None, Field(exclude=True, repr=False)] = None

    @property
    def compiled(self) -> bool:
        """Whether the variant is compiled by torch.compile."""
        return is_compiled(self.variant)

    @property
    def told_peak_bytes(self) -> int:
        """The most bytes at once, with two digits if they are modelled."""
        count = self.step_peak_bytes
        return count if self.basis == "measured" else round(float(f"{count:.2g}"))

    def total_seconds(self, steps: int | None) -> float:
        """Return the time to minimise: compiling and all steps, or one step without ``steps``."""
        if steps is None:
            return self.ranked_seconds
        return self.compile_seconds + steps * self.ranked_seconds


@dataclass(frozen=True)
class Excluded:
    """A variant that is not eligible.

    Attributes:
        variant: name of the variant.
        kind: kind of reason: ``departs`` (declared not equal to the loss), ``unmeasured``,
            ``no times`` in its records, a ``constraint`` that it does not meet, ``unregistered``
            (no longer an implementation), or ``unproven`` (wrong on the torch that runs, or not
            tried on it).
        reason: reason in one line.
    """

    variant: str
    kind: Literal["departs", "unmeasured", "no times", "constraint", "unregistered", "unproven"]
    reason: str


def candidates_at(pool: Pool, case: Case) -> tuple[list[Candidate], list[Excluded]]:
    """Return the variants with their costs in a Case, from a pool, and the excluded variants.

    Where some variants are measured or modelled, those that can only be extrapolated are excluded.
    """
    running = [each for each in impls.implementations(case.loss) if each.is_for(case.device)]
    seen = [_look(pool, case, each) for each in running]
    found = [each for each in seen if isinstance(each, Candidate)]
    known = [each for each in found if each.basis != "extrapolated"] or found
    excluded = [each for each in seen if isinstance(each, Excluded)]
    excluded += [Excluded(each.variant, "unmeasured", FAR) for each in found if each not in known]
    return known, [*excluded, *_gone(pool)]


def _gone(pool: Pool) -> list[Excluded]:
    """Return the variants that have records, but no implementation any more."""
    return [
        Excluded(variant, "unregistered", UNREGISTERED)
        for variant, records in pool.by_variant.items()
        if not records[0].registered
    ]


def _look(pool: Pool, case: Case, implementation: impls.Implementation) -> Candidate | Excluded:
    variant = implementation.variant
    if implementation.departs:
        return Excluded(variant, "departs", f"departs: {implementation.departs}")
    lost = pool.lost(variant, case)
    if lost is not None:
        return Excluded(variant, "no times", f"{lost.status} at {lost.case}: {lost.reason}")
    model = pool.models.get(variant)
    if model is None:
        return Excluded(variant, "unmeasured", "no record of it")
    doubt = doubt_of(implementation, case.device, pool.host.torch)
    if doubt:
        return Excluded(variant, "unproven", doubt)
    return _candidate(case, implementation, model)


def _candidate(case: Case, implementation: impls.Implementation, model: VariantModel) -> Candidate:
    measured = model.records.get(case)
    records = [measured] if measured else list(model.records.values())
    compiled = model.compiled_near(case)
    cost = compiled.compilation if compiled else None
    return Candidate(
        variant=implementation.variant,
        step_seconds=timing_of(measured).median_seconds if measured else model.seconds_at(case),
        ranked_seconds=model.seconds_at(case),
        speedup=None,
        step_peak_bytes=model.bytes_at(case),
        error=max(part.error for record in records for part in record.agreement),
        outputs=implementation.outputs,
        compile_seconds=cost.compile_seconds if cost else 0.0,
        worse=model.graded.get("worse", ()),
        better=model.graded.get("better", ()),
        tried=any(record.conformance for record in model.records.values()),
        basis=_basis(model, case),
        sizes=len(records),
        model_error=None if measured else model.typical_error,
        processes=min(len(timing_of(record).processes) for record in records),
        dirty=any(record.environment.dirty for record in records),
        validated=all(record.validated for record in records),
        compile_process=("fresh" if cost.fresh else "shared") if cost else "",
        model=model,
    )


def with_speedup(candidate: Candidate, pool: Pool, case: Case) -> Candidate:
    """Return a candidate with its speed-up over the reference of its pool."""
    reference = pool.models.get(REFERENCE)
    if reference is None or candidate.model is None:
        return candidate
    return replace(candidate, speedup=ratio_between(candidate.model, reference, case))


def _basis(model: VariantModel, case: Case) -> Basis:
    if case in model.records:
        return "measured"
    return "modelled" if model.reaches(case) else "extrapolated"


def ratio_of(first: Candidate, second: Candidate, case: Case) -> Interval:
    """Return the second's time of a step over the first's."""
    if first.model is None or second.model is None:
        raise ValueError("expected candidates with their models; JSON leaves them out")
    return ratio_between(first.model, second.model, case)
