"""Fit a curve to a quantity at measured sizes, and measure its error by leaving each size out."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lossbench.bench.timing.intervals import student_quantile
from lossbench.impls.estimate import CostCurve, Place, is_within_reach, nearness

Array = NDArray[np.float64]

FEWEST_SIZES = 4
"""The fewest sizes that a curve with three terms is fitted to, and its error measured."""
NUGGET = 0.05
"""The share of a residual's variance that is the record's own noise, not its size's."""


def fit_curve(
    terms: Sequence[Sequence[float]], values: Sequence[float], places: Sequence[Place]
) -> CostCurve:
    """Return the curve with the smallest relative errors; its coefficients are not negative.

    Args:
        terms: terms of the curve at each size.
        values: positive quantity at each size.
        places: sizes.
    """
    from scipy.optimize import nnls

    relative = np.array(terms) / np.array(values)[:, None]
    # The terms differ by many orders of magnitude, which the solver does not bear.
    scale = relative.max(axis=0)
    weights, _ = nnls(relative / scale, np.ones(len(values)))
    return _corrected(weights / scale, terms, values, places)


def scale_curve(
    curve: CostCurve,
    terms: Sequence[Sequence[float]],
    values: Sequence[float],
    places: Sequence[Place],
) -> CostCurve:
    """Return another variant's curve, times a factor that fits it to a few values."""
    plain = np.array(terms) @ curve.coefficients
    factor = math.exp(np.mean(np.log(np.array(values) / plain)))
    return _corrected(factor * np.array(curve.coefficients), terms, values, places)


def _corrected(
    coefficients: Array,
    terms: Sequence[Sequence[float]],
    values: Sequence[float],
    places: Sequence[Place],
) -> CostCurve:
    """Return the curve with the correction that leads it through the values, but for their noise.

    The residuals are modelled by a Gaussian process: their correlation falls with the distance.
    """
    residuals = np.log(np.array(values) / (np.array(terms) @ coefficients))
    corrections = np.linalg.solve(_covariance(places), residuals)
    return CostCurve(tuple(coefficients.tolist()), tuple(places), tuple(corrections.tolist()))


def left_out_errors(
    terms: Sequence[Sequence[float]],
    values: Sequence[float],
    places: Sequence[Place],
    base: CostCurve | None,
) -> dict[int, float]:
    """Return the log error of the estimate at each size, from a curve without that size.

    A size beyond the reach of the others is left out: there an estimate is marked as extrapolated.

    Args:
        terms: terms of the curve at each size.
        values: quantity at each size.
        places: sizes.
        base: another variant's curve to scale, instead of fitting one.
    """
    errors = dict[int, float]()
    for left_out in range(len(values)):
        kept = [i for i in range(len(values)) if i != left_out]
        rest = [terms[i] for i in kept], [values[i] for i in kept], [places[i] for i in kept]
        if is_within_reach(places[left_out], rest[2]):
            curve = scale_curve(base, *rest) if base else fit_curve(*rest)
            estimate = curve.at(terms[left_out], places[left_out])
            errors[left_out] = math.log(estimate / values[left_out])
    return errors


def half_width(errors: Sequence[float], measured: Sequence[Place], place: Place) -> float:
    """Return the half-width, in logarithms, of the 95% interval of an estimate.

    The errors were made at sizes of different distances from the others. So each is divided by the
    standard deviation that the distances give it, and the result is multiplied by that of the size.

    Args:
        errors: log errors at the measured sizes when each was left out.
        measured: measured sizes.
        place: size of the estimate.
    """
    if len(errors) < 2:
        return math.inf
    apart = [
        _deviation([near for j, near in enumerate(measured) if j != i], own)
        for i, own in enumerate(measured)
    ]
    spread = math.sqrt(np.mean((np.array(errors) / apart) ** 2))
    return student_quantile(len(errors)) * spread * _deviation(measured, place)


def _deviation(measured: Sequence[Place], place: Place) -> float:
    """Return the standard deviation of a residual, given those at measured sizes."""
    near = np.array([nearness(place, each) for each in measured])
    known = near @ np.linalg.solve(_covariance(measured), near)
    return math.sqrt(max(1 + NUGGET - float(known), NUGGET))


def _covariance(places: Sequence[Place]) -> Array:
    return np.array([[nearness(one, other) for other in places] for one in places]) + (
        NUGGET * np.eye(len(places))
    )
