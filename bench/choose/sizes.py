"""Interpolate between measured sizes in log space: find the weights of the sizes around one."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from lossbench.bench.case.cases import Case
from lossbench.bench.scaling.laws import AXES, axes_of

# A smaller weight is a rounding error of the solver.
LEAST_WEIGHT = 1e-6
# A step that takes 0 bytes has no logarithm, so a tiny value replaces it.
TINY = 1e-12


def weights_between(case: Case, measured: Sequence[Case]) -> Mapping[Case, float] | None:
    """Return the weights of the measured sizes around a size; ``None`` if it lies outside.

    The weights ``w`` are not negative, sum to 1, and give ``Σ w_i log x_i = log x`` for every axis
    that the Loss's time depends on. Of all such weights those with the smallest
    ``Σ w_i |log x_i - log x|²`` are taken; they are on the corners of the Delaunay simplex around
    the size. A measured size has weight 1 on itself.

    Args:
        case: Case at the requested size.
        measured: Cases that differ from it in sizes only.
    """
    if case in measured:
        return {case: 1.0}
    return _mixture(case, tuple(measured)) if measured else None


# Cached because most variants of a loss were measured at the same sizes.
@lru_cache(maxsize=1024)
def _mixture(case: Case, measured: tuple[Case, ...]) -> Mapping[Case, float] | None:
    from scipy.optimize import linprog

    # If no parameter has C rows, C only affects the labels, so the nearest C will do.
    fixed = [axis in axes_of(case.loss) for axis in AXES]
    offsets = np.array(
        [[np.log(getattr(near, axis) / getattr(case, axis)) for axis in AXES] for near in measured]
    )
    if (offsets[:, fixed].min(axis=0) > 0).any() or (offsets[:, fixed].max(axis=0) < 0).any():
        return None
    found = linprog(
        (offsets**2).sum(axis=1),
        A_eq=np.vstack([offsets[:, fixed].T, np.ones(len(measured))]),
        b_eq=[0.0] * sum(fixed) + [1.0],
    )
    if not found.success:
        return None
    return {
        near: float(weight)
        for near, weight in zip(measured, found.x, strict=True)
        if weight > LEAST_WEIGHT
    }


def mixed(weights: Iterable[float], values: Iterable[float]) -> float:
    """Return a positive quantity between sizes, linear in the logarithms of both."""
    pairs = zip(weights, values, strict=True)
    return math.exp(sum(weight * math.log(max(value, TINY)) for weight, value in pairs))


def at_size(case: Case, measured: Sequence[Case]) -> bool:
    """Return whether all measured sizes equal the Case's on the axes that its time depends on."""
    return all(
        getattr(near, axis) == getattr(case, axis)
        for near in measured
        for axis in axes_of(case.loss)
    )
