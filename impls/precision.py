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
