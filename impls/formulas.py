"""The documents' constants, and formulas, that contenders of more than one kind compute with."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LN_2 = math.log(2)
# Document 001's π, so that every variant steps to the next k at the same angle.
PRINTED_PI = 3.1415926
# Document 001 clamps the squared sine at this, and document 003 a squared distance at the other.
LEAST_SQUARED_SINE = 1e-7
LEAST_SQUARED_DISTANCE = 1e-12
# A distance at or below this was clamped, and has no gradient; the root of 1e-12 may round upwards.
CLAMPED_DISTANCE = 1.000001e-6
# Document 002 adds this to a squared distance.
ADDED_SQUARE = 1e-8


def soft_margin(gap: Tensor) -> Tensor:
    """Return ``log(1 + exp(gap))``, elementwise, without overflow."""
    # softplus turns linear past its threshold, by default too early for float64.
    return F.softplus(gap, threshold=50)


def cosine_of_multiple(cosine: Tensor, multiple: int) -> Tensor:
    """Return ``cos(mθ)`` of ``cos θ`` by the Chebyshev recurrence, in the shape of ``cosine``."""
    previous, current = torch.ones_like(cosine), cosine
    if multiple == 0:
        return previous
    for _ in range(multiple - 1):
        previous, current = current, 2 * cosine * current - previous
    return current
