"""The model of each variant of a pool: its records, and curves for sizes without a record."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.fitting import (
    FEWEST_SIZES,
    fit_curve,
    half_width,
    left_out_errors,
    scale_curve,
)
from lossbench.bench.choose.ratios import step_ratio
from lossbench.bench.run.economics import normal_seconds
from lossbench.bench.run.records import Record
from lossbench.bench.timing.intervals import Interval
from lossbench.impls.compiled import eager_of
from lossbench.impls.estimate import (
    AXES,
    CostCurve,
    Place,
    is_within_reach,
    nearness,
    place_of,
    terms_of_bytes,
    terms_of_time,
)
from lossbench.impls.registry import REFERENCE

Terms = tuple[float, float, float]
TERMS = {"time": terms_of_time, "bytes": terms_of_bytes}


@dataclass(frozen=True)
class VariantModel:
    """A variant's records with times, and the curves that were fitted to them.

    Attributes:
        variant: name of the variant.
        records: Records with times, by Case.
        seconds: time of a step, by Case.
        time: curve of the time of a step.
        bytes: curve of the most bytes at once in a step.
        errors: log error of the time at each Case when it was left out; empty if too few.
    """

    variant: str
    records: Mapping[Case, Record]
    seconds: Mapping[Case, float]
    time: CostCurve
    bytes: CostCurve
    errors: Mapping[Case, float]

    def seconds_at(self, case: Case) -> float:
        """Return the time of a step: that of the record, or else of the curve."""
        measured = self.seconds.get(case)
        return measured or self.time.at(terms_of("time", case), place_in(case))

    def bytes_at(self, case: Case) -> int:
        """Return the most bytes at once: those of the record, or else of the curve."""
        record = self.records.get(case)
        if record is not None:
            return peak_bytes(record)
        return round(self.bytes.at(terms_of("bytes", case), place_in(case)))

    @cached_property
    def graded(self) -> Mapping[str, tuple[str, ...]]:
        """The degenerate inputs, by the grade that a Record has on them."""
        found: dict[str, set[str]] = {}
        for record in self.records.values():
            for part in record.conformance:
                found.setdefault(part.grade, set()).add(part.input)
        return {grade: tuple(sorted(inputs)) for grade, inputs in found.items()}

    def compiled_near(self, case: Case) -> Record | None:
        """Return the nearest Record with a compile time, of a fresh process if there is one."""
        found = [record for record in self.records.values() if record.compilation]
        fresh = [r for r in found if r.compilation and r.compilation.fresh]
        return max(fresh or found, key=lambda record: nearness_of(record, case), default=None)

    @property
    def typical_error(self) -> float | None:
        """The relative error of the time in nine of ten sizes; ``None`` if too few were tried."""
        if not self.errors:
            return None
        return math.expm1(float(np.quantile(np.abs(list(self.errors.values())), 0.9)))

    def knows(self, case: Case) -> bool:
        """Return whether a Case was measured, or lies within reach of the measured ones."""
        return case in self.records or self.reaches(case)

    def reaches(self, case: Case) -> bool:
        """Return whether a Case lies within the sizes that the curve was fitted to."""
        return bool(self.errors) and is_within_reach(place_in(case), self.time.places)


def nearness_of(record: Record, case: Case) -> float:
    """Return 1 if a Record is of the size of a Case, and less the further it is from it."""
    return nearness(place_in(record.case), place_in(case))


def size_of(case: Case) -> dict[str, int]:
    """Return the size of a Case by axis."""
    return {axis: getattr(case, axis) for axis in AXES}


def place_in(case: Case) -> Place:
    """Return the size of a Case on the axes that its time depends on."""
    return place_of(impls.loss(case.loss), size_of(case))


def terms_of(kind: str, case: Case) -> Terms:
    """Return the terms of the curve of a kind, ``time`` or ``bytes``, in a Case."""
    return TERMS[kind](impls.loss(case.loss), size_of(case), case.held_dtype.itemsize)


def peak_bytes(record: Record) -> int:
    """Return the most bytes at once in a step; 0 if they were not measured."""
    return record.memory.step_peak_bytes if record.memory else 0


def models_of(records: Iterable[Record]) -> dict[str, VariantModel]:
    """Return the model of each variant with times.

    A variant with too few sizes takes the curve of the eager variant it was compiled from, or of
    the reference, times a factor.

    Args:
        records: Records of one Host that differ in sizes and variants only, one per cell.
    """
    timed: dict[str, dict[Case, Record]] = {}
    for record in records:
        if record.step is not None and record.registered:
            timed.setdefault(record.variant, {})[record.case] = record
    references = timed.get(REFERENCE, {})
    curves = {
        variant: _fitted(found, references)
        for variant, found in timed.items()
        if len(found) >= FEWEST_SIZES
    }
    return {
        variant: curves.get(variant)
        or _fitted(found, references, curves.get(eager_of(variant)) or curves.get(REFERENCE))
        for variant, found in timed.items()
    }


def _fitted(
    records: Mapping[Case, Record],
    references: Mapping[Case, Record],
    like: VariantModel | None = None,
) -> VariantModel:
    """Return the model of a variant.

    Args:
        records: its Records with times.
        references: Records of the reference.
        like: model with the curve to scale; ``None`` to fit one of its own.
    """
    cases = list(records)
    places = [place_in(case) for case in cases]
    seconds = [normal_seconds(records[case], references.get(case)) for case in cases]
    times = [terms_of("time", case) for case in cases]
    enough = len(cases) >= (2 if like else FEWEST_SIZES)
    base = like.time if like else None
    errors = left_out_errors(times, seconds, places, base) if enough else {}
    held = [float(max(peak_bytes(record), 1)) for record in records.values()]
    sizes = [terms_of("bytes", case) for case in cases]
    return VariantModel(
        variant=next(iter(records.values())).variant,
        records=records,
        seconds=dict(zip(cases, seconds, strict=True)),
        time=_curve(times, seconds, places, base),
        bytes=_curve(sizes, held, places, like.bytes if like else None),
        errors={cases[i]: error for i, error in errors.items()},
    )


def _curve(
    terms: Sequence[Terms], values: Sequence[float], places: Sequence[Place], base: CostCurve | None
) -> CostCurve:
    return scale_curve(base, terms, values, places) if base else fit_curve(terms, values, places)


def ratio_between(first: VariantModel, second: VariantModel, case: Case) -> Interval:
    """Return the second's time of a step over the first's.

    Measured in one Case they are compared by their records. Otherwise the interval has the width
    of the errors that their ratio had where sizes were left out; it is unbounded if too few were,
    or if the Case is too far from them.
    """
    one, other = first.records.get(case), second.records.get(case)
    if one is not None and other is not None:
        return step_ratio(one, other)
    # Beyond the reach of the sizes no error was measured, so none is known.
    reached = first.reaches(case) and second.reaches(case)
    both = [each for each in first.errors if each in second.errors and reached]
    errors = [second.errors[case] - first.errors[case] for case in both]
    width = half_width(errors, [place_in(each) for each in both], place_in(case))
    ratio = second.seconds_at(case) / first.seconds_at(case)
    # Of infinity NumPy's exponential is no error.
    return Interval(ratio, ratio * math.exp(-width), ratio * float(np.exp(width)))
