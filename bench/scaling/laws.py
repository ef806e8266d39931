"""Scaling: with which power of batch, dim and classes a variant's time and memory grow.

One axis is swept by factors of two while the others stay, and ``log q = a + k log size`` is fitted
by least squares. Fixed costs and lower-order terms bend the curve at small sizes, and a power law
fitted over a bend is an average over the swept sizes; the exponent between the last two sizes
stands beside it, and where the two differ the fit must not be extrapolated. The standard error is
that of scatter about a straight line: for times noise and bend together; for bytes, which are
counted exactly, how far they are from a pure power.
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
# With two every line fits, and there is no standard error.
FEWEST_POINTS = 3


@dataclass(frozen=True)
class PowerLaw:
    """The exponent of a quantity in a size.

    Attributes:
        exponent: fitted over all sizes.
        standard_error: of the exponent; of n sizes it has n - 2 degrees of freedom, so that a 95%
            interval of five sizes is 3.2 of them to either side.
        last: the exponent between the last two sizes.
    """

    exponent: float
    standard_error: float
    last: float


@dataclass(frozen=True)
class Counted:
    """The bytes of a step at one size.

    Attributes:
        held_bytes: inputs, parameters and buffers, and the upstream gradient of a distance block.
        step_peak_bytes: the most at any moment above these.
        saved_bytes: kept for the backward.
    """

    held_bytes: int
    step_peak_bytes: int
    saved_bytes: int

    @property
    def total_bytes(self) -> int:
        """What the device must have."""
        return self.held_bytes + self.step_peak_bytes


@dataclass(frozen=True)
class Point:
    """What was seen of a variant at one size.

    Attributes:
        size: along the axis.
        step_seconds: the median of a step.
        counted: its bytes.
    """

    size: int
    step_seconds: float
    counted: Counted


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Scaling:
    """How one variant grows along one axis.

    Attributes:
        variant: which Implementation of the Loss.
        axis: ``batch``, ``dim`` or ``classes``.
        points: what was measured, the smallest size first.
        laws: by quantity; empty where there are too few points.
        reason: why there are no more points, where some are missing.
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
    # Of values that are all the same scipy knows no standard error.
    error = line.stderr if np.ptp(y) else 0.0
    return PowerLaw(float(line.slope), float(error), float(last))


def fit_laws(points: Sequence[Point]) -> dict[str, PowerLaw]:
    """Return the power law of each quantity that is positive at every one of enough points."""
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
    """Return the axes to sweep: classes only where the parameters have them."""
    return tuple(axis for axis in AXES if axis != "classes" or impls.loss(loss).has_classes)


def sweep(centre: Case, axis: str, points: int) -> tuple[Case, ...]:
    """Return the Cases of one axis, by factors of two around the centre.

    Raises:
        UsageError: where the smallest cannot be.
    """
    size, below = getattr(centre, axis), points // 2
    if size < 2**below:
        raise UsageError(
            f"{points} points around {axis} {size} begin below 1; expected {2**below} or more"
        )
    sizes = (size * 2**i // 2**below for i in range(points))
    return tuple(replace(centre, **{axis: each}).checked() for each in sizes)
