"""Errors of a tensor against an exact one: relative over the whole, and in ulps per element."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Errors(NamedTuple):
    """The errors of a tensor against the exact one.

    Attributes:
        relative: relative error over the whole tensor.
        ulps: largest error of an element, in units in the last place.
    """

    relative: float
    ulps: float


def errors_of(value: Tensor, exact: Tensor, dtype: torch.dtype) -> Errors:
    """Return the errors of a value against the exact one; ulps are those of a dtype."""
    return Errors(relative_error(value, exact), ulp_error(value, exact, dtype))


def relative_error(value: Tensor, exact: Tensor) -> float:
    """Return ``‖v - v64‖ / ‖v64‖`` in float64, or ``‖v - v64‖`` if the exact value is 0.

    Elements that are not finite are ignored if they are the same in both; otherwise it is inf.
    """
    pair = _finite_parts(value, exact)
    if pair is None:
        return math.inf
    difference, scale = (torch.linalg.vector_norm(x) for x in (pair[0] - pair[1], pair[1]))
    return float(difference / scale if scale > 0 else difference)


def ulp_error(value: Tensor, exact: Tensor, dtype: torch.dtype) -> float:
    """Return the largest ``|v - v64|`` in units in the last place of a dtype at ``v64``.

    The unit at x is ``eps · 2^⌊log2 |x|⌋``. If x is smaller than the dtype's least normal number,
    the unit is that of the least normal number, which is also the distance of subnormal numbers.
    Elements that are not finite count as in ``relative_error``.
    """
    pair = _finite_parts(value, exact)
    if pair is None:
        return math.inf
    if not pair[1].numel():
        return 0.0
    info = torch.finfo(dtype)
    size = pair[1].abs().clamp(min=info.tiny)
    # A number over its own mantissa is a power of two, so the quotient is exact.
    unit = info.eps * (size / (2 * torch.frexp(size).mantissa))
    return float(((pair[0] - pair[1]).abs() / unit).max())


def _finite_parts(value: Tensor, exact: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return both in float64, with 0 for what is not finite; ``None`` if they differ there."""
    value, exact = value.detach().cpu().double(), exact.detach().cpu().double()
    if value.shape != exact.shape:
        return None
    odd = ~(exact.isfinite() & value.isfinite())
    if not torch.allclose(value[odd], exact[odd], equal_nan=True):
        return None
    return value.masked_fill(odd, 0), exact.masked_fill(odd, 0)
