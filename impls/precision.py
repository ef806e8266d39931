"""The precision that contenders compute in: at least float32, whatever autocast says."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

# Over so few features the differences of all pairs are about as small as their distances, which the
# expanded square would round where points lie close together.
FEW_FEATURES = 4

P = ParamSpec("P")
R = TypeVar("R")


def widened(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to accumulate in: float32 for the half precisions, else ``dtype``."""
    return torch.promote_types(dtype, torch.float32)


def without_noise(squared: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return expanded squares with 0, in compiled code, for those within their rounding.

    Of equal rows an expanded square is what two ways to sum up the same products differ by. Eager
    code sums as the reference does; the compiler has an order of its own, and fuses another look
    at each element with what follows.

    Args:
        squared: ``‖a_i - b_j‖² = ‖a_i‖² + ‖b_j‖² - 2 a_i·b_j``, ``[M, N]``.
        a: ``[M, D]``.
        b: ``[N, D]``.
    """
    if not torch.compiler.is_compiling():
        return squared
    lengths = a.square().sum(1, keepdim=True) + b.square().sum(1)
    # NaN and infinity stay what they are.
    is_noise = squared < 2 * torch.finfo(squared.dtype).eps * lengths
    return squared.masked_fill(is_noise, 0)


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a forward or a backward so that autocast does not lower its products.

    The device is that of the first tensor among the arguments.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)).device.type
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return guarded
