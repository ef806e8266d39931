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
    """Return expanded squares with 0 for those within their rounding, as those of a row to itself.

    Of equal rows an expanded square is what two ways to sum up the same products differ by. Eager
    code sums as the reference does, and would pay for another pass; the compiler has an order of
    its own, and fuses it.

    Args:
        squared: ``‖a_i - b_j‖² = ‖a_i‖² + ‖b_j‖² - 2 a_i·b_j``, ``[M, N]``.
        a: ``[M, D]``.
        b: ``[N, D]``, which may be ``a`` itself.
    """
    lengths = a.square().sum(1, keepdim=True) + b.square().sum(1)
    # NaN and infinity stay what they are.
    noise = squared < 2 * torch.finfo(squared.dtype).eps * lengths
    if a is b:
        noise = noise | torch.eye(len(a), dtype=torch.bool, device=a.device)
    return squared.masked_fill(noise, 0)


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
