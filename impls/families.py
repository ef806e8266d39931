"""The families of kernels that a rank of a sharded loss can compute its own part with.

``impls.sharded`` looks a family up by its name, and the family's own package enters its functions
here. So neither package imports the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

NEEDS: Mapping[str, Mapping[str, Any]] = {
    "native": {"devices": ("cpu",)},
    "triton": {
        "requires": ("triton",),
        "devices": ("cuda",),
        "dtypes": (torch.float32, torch.bfloat16, torch.float16),
    },
}
"""What each family needs, in the words of ``register``."""

COLUMNS = ("free", "unit", "max_norm")
"""The rules that scale columns: as they are, to length 1, or to length 1 by a max-norm."""

ShardSums = Callable[[Tensor, Tensor, Tensor, str, Tensor | None], tuple[Tensor, Tensor]]
SquareSum = Callable[[Tensor, Tensor, Tensor, bool], Tensor]
SquaredDistances = Callable[[Tensor, Tensor], Tensor]
PairSum = Callable[[Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Family:
    """Functions for the part of one rank, each with its gradient.

    Attributes:
        shard_sums: a function that returns ``log Σ_c exp(z_ic)`` and ``Σ_c s_c z_ic``, ``[B]``
            each, over the classes of a shard without the sample's own; ``z`` are the products of
            rows and scaled columns. No ``[B, C_r]`` is kept: the backward pass computes the
            products again. It takes the rows ``[B, D]``, float32 or float64; the shard
            ``[D, C_r]`` with at least one class; the place of each sample's class in it, ``[B]``,
            -1 if it is elsewhere; the name of the rule that scales the columns, one of
            ``COLUMNS``; and the shares ``s [C_r]``, or ``None`` for no second sum.
        square_sum: a function that returns ``Σ_i ‖x_i - c_{y_i}‖²``, 0-d. It takes the rows
            ``[N, D]``, at least one; the centres ``[C_r, D]``; the place of each row's centre,
            ``[N]``; and whether the centres move before the backward pass.
        squared_distances: a function that returns the squared distances of anchors ``[N, D]`` and
            rows ``[B, D]``, expanded, ``[N, B]``.
        pair_sum: a function that returns ``½ Σ_i (s_i d_i² + (1 - s_i) max(0, m - d_i)²)``, 0-d, of
            the distances ``d`` of the pairs. It takes their samples, ``[N, D]`` each and at least
            one; ``s``, 1 for a similar pair and 0 for another, ``[N]``; and the margin ``m``.
    """

    shard_sums: ShardSums
    square_sum: SquareSum
    squared_distances: SquaredDistances
    pair_sum: PairSum


_makers: dict[str, Callable[[], Family]] = {}
_problems: dict[str, Callable[[], str | None]] = {}


def enter_family(
    name: str, make: Callable[[], Family], problem: Callable[[], str | None] = lambda: None
) -> None:
    """Enter a family of kernels.

    Args:
        name: the name of the family.
        make: a function that loads the operators, and returns the functions that call them.
        problem: a function that returns why they can be loaded nowhere on this machine, or
            ``None``.
    """
    _makers[name], _problems[name] = make, problem


@cache
def family(name: str) -> Family:
    """Return a family of kernels; the first call loads their operators."""
    return _makers[name]()


def problem_of_family(name: str) -> str | None:
    """Return why a family can be loaded nowhere on this machine, or ``None``."""
    return _problems[name]()
