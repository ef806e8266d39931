"""How far one tensor is from another in float64: over the whole, and at its worst element."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Errors(NamedTuple):
    """How far one value is from the exact one: ``relative``, and in ``ulps``."""

    relative: float
    ulps: float


def errors_of(value: Tensor, exact: Tensor, dtype: torch.dtype) -> Errors:
    """Return how far a value is from the exact one, in ulps of a dtype."""
    return Errors(relative_error(value, exact), ulp_error(value, exact, dtype))


def relative_error(value: Tensor, exact: Tensor) -> float:
    """Return ``‖v - v64‖ / ‖v64‖`` in float64, and where the exact value is 0 the error itself.

    Elements that are not finite count for nothing where they are the same; else it is inf.
    """
    pair = _finite_parts(value, exact)
    if pair is None:
        return math.inf
    difference, scale = (torch.linalg.vector_norm(x) for x in (pair[0] - pair[1], pair[1]))
    return float(difference / scale if scale > 0 else difference)


def ulp_error(value: Tensor, exact: Tensor, dtype: torch.dtype) -> float:
    """Return the largest ``|v - v64|`` in units in the last place of a dtype at ``v64``.

    The unit at x is ``eps · 2^⌊log2 |x|⌋``. Where x is 0, or smaller than the dtype's least normal
    number, it is that number's, which is what separates subnormal ones too. Elements that are not
    finite count as in ``relative_error``.
    """
    pair = _finite_parts(value, exact)
    if pair is None:
        return math.inf
    if not pair[1].numel():
        return 0.0
    info = torch.finfo(dtype)
    size = pair[1].abs().clamp(min=info.tiny)
    # Quotients of a number and its own mantissa are powers of two, and exact.
    unit = info.eps * (size / (2 * torch.frexp(size).mantissa))
    return float(((pair[0] - pair[1]).abs() / unit).max())


def _finite_parts(value: Tensor, exact: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return both in float64, with 0 where neither is finite; ``None`` where these differ."""
    value, exact = value.detach().cpu().double(), exact.detach().cpu().double()
    if value.shape != exact.shape:
        return None
    odd = ~(exact.isfinite() & value.isfinite())
    if not torch.allclose(value[odd], exact[odd], equal_nan=True):
        return None
    return value.masked_fill(odd, 0), exact.masked_fill(odd, 0)
