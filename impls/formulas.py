"""Constants of the documents, and formulas, that several kinds of implementations share."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.precision import widened

LN_2 = math.log(2)
# Document 001 prints this π; with it every variant steps to the next k at the same angle.
PRINTED_PI = 3.1415926
# Document 001 clamps a squared sine at 1e-7, and document 003 a squared distance at 1e-12.
LEAST_SQUARED_SINE = 1e-7
LEAST_SQUARED_DISTANCE = 1e-12
# The root of 1e-12 may round upwards, so a distance up to this was clamped and has no gradient.
CLAMPED_DISTANCE = 1.000001e-6
# Document 002 adds this to a squared distance, and document 003 that to a row's length.
ADDED_SQUARE = 1e-8
ADDED_LENGTH = 1e-12


def soft_margin(gap: Tensor) -> Tensor:
    """Return ``log(1 + exp(gap))``, elementwise, without overflow."""
    # softplus is linear above its threshold; the default threshold is too low for float64.
    return F.softplus(gap, threshold=50)


def unit_rows(x: Tensor) -> Tensor:
    """Return ``x_i / (‖x_i‖ + 1e-12)`` of ``x [B, D]``, in float32 or wider (document 003)."""
    x = x.to(widened(x.dtype))
    lengths: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / (lengths + ADDED_LENGTH)


def cosine_of_multiple(cosine: Tensor, multiple: int) -> Tensor:
    """Return ``cos(mθ)`` of ``cos θ`` by the Chebyshev recurrence, in the shape of ``cosine``."""
    previous, current = torch.ones_like(cosine), cosine
    if multiple == 0:
        return previous
    for _ in range(multiple - 1):
        previous, current = current, 2 * cosine * current - previous
    return current
