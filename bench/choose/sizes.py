"""Sizes between measured ones: as which mixture of these a size can be seen, in log space."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from lossbench.bench.case.cases import Case
from lossbench.bench.scaling.laws import AXES, axes_of

# A share below this is the solver's rounding.
LEAST_WEIGHT = 1e-6
# Where a step takes no byte there is no logarithm.
TINY = 1e-12


def weights_between(case: Case, measured: Sequence[Case]) -> Mapping[Case, float] | None:
    """Return measured sizes and the shares in which a size lies between them, or ``None``.

    The shares ``w`` are not negative, sum to 1, and give ``Σ w_i log x_i = log x`` in every size
    that the Loss's time depends on. Of all such mixtures it is the nearest, of the smallest
    ``Σ w_i |log x_i - log x|²``, which takes the corners of the Delaunay simplex around the size; a
    measured size is its own. Where no mixture gives it, the size is outside of what was measured.

    Args:
        case: the size that is asked for.
        measured: Cases that differ from it in sizes only.
    """
    if case in measured:
        return {case: 1.0}
    return _mixture(case, tuple(measured)) if measured else None


# The variants of a loss were mostly measured at the same sizes.
@lru_cache(maxsize=1024)
def _mixture(case: Case, measured: tuple[Case, ...]) -> Mapping[Case, float] | None:
    from scipy.optimize import linprog

    # Classes that no parameter has are only labels, and are matched as nearly as there is.
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
    """Return a positive quantity between sizes: a straight line in its and their logarithms."""
    pairs = zip(weights, values, strict=True)
    return math.exp(sum(weight * math.log(max(value, TINY)) for weight, value in pairs))


def at_size(case: Case, measured: Sequence[Case]) -> bool:
    """Return whether all measured sizes are the Case's own; classes count as parameters only."""
    return all(
        getattr(near, axis) == getattr(case, axis)
        for near in measured
        for axis in axes_of(case.loss)
    )
