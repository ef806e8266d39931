"""Estimate a step's time and memory at any size, from curves that were fitted to measured sizes.

A curve of times is ``overhead + arithmetic + bytes``: a fixed time, a time per operation of the
Loss's cost model, and a time per byte of its matrices and scores. A curve of memory is the same
without the arithmetic. Each is multiplied by a correction that passes through the measured sizes:
near a measured size the estimate is what was measured, far from all it is the curve itself.
``lossbench choose`` fits the curves and ``lossbench.build`` reads them; both evaluate them here.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from lossbench.impls.compiled import is_compiled
from lossbench.impls.loss import Loss

AXES = ("batch", "dim", "classes")
Place = tuple[int, ...]
"""A size, on the axes that a Loss's time depends on: batch, dim, and classes if it has any."""

SCORE_PASSES = 8
"""How often a step reads or writes each score; chosen by cross-validation over all losses."""
CORRECTED_WITHIN = math.log(4)
"""The distance, as a logarithm of sizes, at which a correction has fallen to 1/e."""
REACH = 10
"""The factor of a size up to which it counts as within the measured sizes, on every axis."""
SAME_MARGIN = 0.02
"""The relative difference up to which two times count as the same."""
LEAST_GAIN = 1.1
"""The factor by which a variant in doubt must be faster than each other one to come first.

In doubt is a compiled one: it needs a compiler, delays every start, and was not tried on degenerate
inputs. So is one that was not measured at a size at which others were: its time is modelled.
"""


@dataclass(frozen=True)
class CostCurve:
    """A positive quantity as a function of the size.

    Attributes:
        coefficients: the factor of each term of the curve.
        places: the measured sizes.
        corrections: the weight of each measured size in the logarithm of the correction.
    """

    coefficients: tuple[float, ...]
    places: tuple[Place, ...]
    corrections: tuple[float, ...]

    def at(self, terms: Sequence[float], place: Place) -> float:
        """Return the quantity at a size, for the values of the curve's terms there."""
        plain = sum(c * term for c, term in zip(self.coefficients, terms, strict=True))
        pairs = zip(self.corrections, self.places, strict=True)
        return plain * math.exp(sum(weight * nearness(place, near) for weight, near in pairs))


def nearness(one: Place, other: Place) -> float:
    """Return 1 for equal sizes, and less the further apart two sizes are."""
    apart = math.hypot(*(math.log(a / b) for a, b in zip(one, other, strict=True)))
    return math.exp(-apart / CORRECTED_WITHIN)


def is_within_reach(place: Place, measured: Collection[Place]) -> bool:
    """Return whether a measured size differs by at most ``REACH`` on every axis."""
    return any(
        all(1 / REACH <= a / b <= REACH for a, b in zip(place, near, strict=True))
        for near in measured
    )


def is_gain(ratio: float) -> bool:
    """Return whether a variant is faster by more than the margin within which times are the same.

    Args:
        ratio: the other variant's time over its time.
    """
    return ratio > 1 + SAME_MARGIN


def place_of(loss: Loss, size: Mapping[str, int]) -> Place:
    """Return the size on the axes that the Loss's time depends on."""
    return tuple(size[axis] for axis in AXES if axis != "classes" or loss.has_classes)


def terms_of_time(loss: Loss, size: Mapping[str, int], itemsize: int) -> tuple[float, float, float]:
    """Return the terms of a step's time: 1, operations, and bytes of matrices and scores."""
    matrices, scores = terms_of_bytes(loss, size, itemsize)[1:]
    return 1.0, loss.cost.flops("step", _symbols(size)), matrices + SCORE_PASSES * scores


def terms_of_bytes(
    loss: Loss, size: Mapping[str, int], itemsize: int
) -> tuple[float, float, float]:
    """Return the terms of a step's memory: 1, bytes of the matrices, and bytes of the scores.

    The cost model counts the operations that have a factor D; there are as many for each score.
    """
    symbols = _symbols(size)
    scores = loss.cost.flops("step", symbols) / size["dim"]
    return 1.0, loss.cost.traffic_bytes("step", symbols, itemsize), itemsize * scores


def _symbols(size: Mapping[str, int]) -> dict[str, int]:
    batch, dim, classes = (size[axis] for axis in AXES)
    # The labels of a batch are drawn, so the number of distinct ones is not known before.
    return {"B": batch, "D": dim, "C": classes, "U": min(batch, classes)}


def preferred_order(
    seconds: Mapping[str, float],
    totals: Mapping[str, float] | None = None,
    modelled: Collection[str] = (),
) -> list[str]:
    """Return variants with the one to use first, and then the others, the fastest first.

    A variant in doubt comes first only if its step is faster by ``LEAST_GAIN``.

    Args:
        seconds: the time of a step, by variant.
        totals: the time to minimise, by variant; by default that of a step.
        modelled: the variants that were not measured at this size.
    """
    totals = totals or seconds
    order = sorted(totals, key=lambda variant: totals[variant])
    # Where all are modelled, none is in doubt for it.
    unsure = set(modelled) if len(modelled) < len(seconds) else set()
    sure = {name for name in order if not is_compiled(name) and name not in unsure}
    fastest = min((seconds[name] for name in sure), default=math.inf)
    first = next(
        (name for name in order if name in sure or seconds[name] * LEAST_GAIN <= fastest), order[0]
    )
    return [first, *(name for name in order if name != first)]
