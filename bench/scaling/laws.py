"""Fit power laws: the exponents with which time and memory grow in batch, dim and classes.

One axis is swept by factors of two, the others stay fixed, and ``log q = a + k log size`` is fitted
by least squares. Fixed costs and lower-order terms bend the curve at small sizes, so the fitted
exponent is an average over the swept sizes. The exponent between the last two sizes is shown with
it; where the two differ, the fit must not be extrapolated. The standard error measures the scatter
about a straight line: noise and bend for times, and the bend alone for bytes, which are exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError

AXES: Mapping[str, str] = {"batch": "B", "dim": "D", "classes": "C"}
# A line fits any two points exactly, so two points give no standard error.
FEWEST_POINTS = 3


@dataclass(frozen=True)
class PowerLaw:
    """The exponent of a quantity in a size.

    Attributes:
        exponent: exponent fitted over all sizes.
        standard_error: standard error of the exponent, with n - 2 degrees of freedom for n sizes;
            for five sizes the 95% interval reaches 3.2 standard errors to either side.
        last: exponent between the last two sizes.
    """

    exponent: float
    standard_error: float
    last: float


@dataclass(frozen=True)
class Counted:
    """The bytes of a step at one size.

    Attributes:
        held_bytes: bytes of inputs, parameters and buffers, and of the upstream gradient of a
            distance block.
        step_peak_bytes: largest number of live bytes above these during the step.
        saved_bytes: bytes saved for the backward.
    """

    held_bytes: int
    step_peak_bytes: int
    saved_bytes: int

    @property
    def total_bytes(self) -> int:
        """The memory that the step needs on the device, in bytes."""
        return self.held_bytes + self.step_peak_bytes


@dataclass(frozen=True)
class Point:
    """The measurements of a variant at one size.

    Attributes:
        size: size along the axis.
        step_seconds: median time of a step.
        counted: bytes of a step.
    """

    size: int
    step_seconds: float
    counted: Counted


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Scaling:
    """The growth of one variant along one axis.

    Attributes:
        variant: name of the variant.
        axis: ``batch``, ``dim`` or ``classes``.
        points: measured points, the smallest size first.
        laws: power law of each quantity; empty if there are too few points.
        reason: reason why points are missing; empty if all are there.
    """

    variant: str
    axis: str
    points: tuple[Point, ...]
    laws: dict[str, PowerLaw]
    reason: str = ""


def fit_power(sizes: Sequence[int], values: Sequence[float]) -> PowerLaw:
    """Return the power law through positive values at ascending sizes, at least three of them."""
    from scipy.stats import linregress

    x, y = np.log(sizes), np.log(values)
    line = linregress(x, y)
    last = (y[-1] - y[-2]) / (x[-1] - x[-2])
    # scipy gives no standard error if all values are equal.
    error = line.stderr if np.ptp(y) else 0.0
    return PowerLaw(float(line.slope), float(error), float(last))


def fit_laws(points: Sequence[Point]) -> dict[str, PowerLaw]:
    """Return the power law of each quantity that is positive everywhere; empty for few points."""
    if len(points) < FEWEST_POINTS:
        return {}
    sizes = [point.size for point in points]
    columns: dict[str, list[float]] = {
        "step_seconds": [point.step_seconds for point in points],
        "step_peak_bytes": [point.counted.step_peak_bytes for point in points],
        "saved_bytes": [point.counted.saved_bytes for point in points],
    }
    return {name: fit_power(sizes, values) for name, values in columns.items() if min(values) > 0}


def axes_of(loss: str) -> tuple[str, ...]:
    """Return the axes to sweep; classes only if the parameters of the loss have classes."""
    return tuple(axis for axis in AXES if axis != "classes" or impls.loss(loss).has_classes)


def sweep(centre: Case, axis: str, points: int) -> tuple[Case, ...]:
    """Return the Cases of one axis, by factors of two around the centre.

    Raises:
        UsageError: if the smallest size would be below 1.
    """
    size, below = getattr(centre, axis), points // 2
    if size < 2**below:
        raise UsageError(
            f"{points} points around {axis} {size} begin below 1; expected {2**below} or more"
        )
    sizes = (size * 2**i // 2**below for i in range(points))
    return tuple(replace(centre, **{axis: each}).checked() for each in sizes)
