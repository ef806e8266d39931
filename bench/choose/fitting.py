"""Fit a curve to a quantity at measured sizes, and measure its error by leaving each size out."""

import math
from collections.abc import Sequence
from functools import lru_cache

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
    table, seen = np.array(terms), np.array(values)
    return _corrected(_fitted(table, seen), table, seen, places)


def scale_curve(
    curve: CostCurve,
    terms: Sequence[Sequence[float]],
    values: Sequence[float],
    places: Sequence[Place],
) -> CostCurve:
    """Return another variant's curve, times a factor that fits it to a few values."""
    table, seen = np.array(terms), np.array(values)
    return _corrected(_scaled(curve, table, seen), table, seen, places)


def _fitted(terms: Array, values: Array) -> Array:
    """Return the coefficients that fit the terms to the values."""
    from scipy.optimize import nnls

    relative = terms / values[:, None]
    # The terms differ by many orders of magnitude, which the solver does not bear.
    scale = relative.max(axis=0)
    weights, _ = nnls(relative / scale, np.ones(len(values)))
    found: Array = weights / scale
    return found


def _scaled(curve: CostCurve, terms: Array, values: Array) -> Array:
    """Return the coefficients of a curve, times the factor that fits them to the values."""
    coefficients = np.array(curve.coefficients)
    factor = math.exp(np.mean(np.log(values / (terms @ coefficients))))
    return factor * coefficients


def _corrected(
    coefficients: Array, terms: Array, values: Array, places: Sequence[Place]
) -> CostCurve:
    """Return the curve with the correction that leads it through the values, but for their noise.

    The residuals are modelled by a Gaussian process: their correlation falls with the distance.
    """
    residuals = np.log(values / (terms @ coefficients))
    corrections = _precision(tuple(places)) @ residuals
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
    table, seen = np.array(terms), np.array(values)
    precision = _precision(tuple(places))
    errors = dict[int, float]()
    for left_out in _within_reach_of_others(tuple(places)):
        kept = np.arange(len(seen)) != left_out
        rest = table[kept], seen[kept]
        residuals = np.log(seen / (table @ (_scaled(base, *rest) if base else _fitted(*rest))))
        # What the other residuals do not predict of this one (Rasmussen and Williams 2006, 5.12).
        errors[left_out] = -float(precision[left_out] @ residuals) / precision[left_out, left_out]
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
    precision = _precision(tuple(measured))
    # The variance of a residual, given those at all other measured sizes.
    variances = 1 / precision.diagonal()
    spread = math.sqrt(np.mean(np.array(errors) ** 2 / variances))
    near = np.array([nearness(place, each) for each in measured])
    variance = max(1 + NUGGET - float(near @ precision @ near), NUGGET)
    return student_quantile(len(errors)) * spread * math.sqrt(variance)


# The variants of a loss are measured at the same sizes, so most of these are asked for often.
@lru_cache(maxsize=256)
def _precision(places: tuple[Place, ...]) -> Array:
    """Return the inverse of the covariance of the residuals at some sizes."""
    covariance = np.array([[nearness(one, other) for other in places] for one in places])
    inverse = np.linalg.inv(covariance + NUGGET * np.eye(len(places)))
    return inverse.astype(np.float64)


@lru_cache(maxsize=256)
def _within_reach_of_others(places: tuple[Place, ...]) -> tuple[int, ...]:
    """Return the numbers of the sizes that lie within reach of the others."""
    return tuple(
        number
        for number, place in enumerate(places)
        if is_within_reach(place, places[:number] + places[number + 1 :])
    )
