"""The distances of all rows of two matrices, as autograd sees their native operators."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.native.gradients import NativeFunction
from lossbench.impls.native.operators import alike


def native_distances(a: Tensor, b: Tensor, *, rooted: bool, rounded: bool = False) -> Tensor:
    """Return the distances of ``a [M, D]`` and ``b [N, D]``, or their squares, ``[M, N]``.

    Args:
        a: the first rows, ``[M, D]``.
        b: the second rows, ``[N, D]``.
        rooted: whether squares are clamped and their roots are taken.
        rounded: whether squares are rounded to the rows' dtype; else they are float32 or wider.
    """
    distances: Tensor = _NativePairwise.apply(*alike(a, b), rooted, rounded)
    return distances


class _NativePairwise(NativeFunction):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, rooted: bool, rounded: bool) -> Tensor:
        distances: Tensor = torch.ops.lossbench_native.pairwise_distance.default(
            a, b, rooted, rounded
        )
        ctx.save_for_backward(a, b, distances if rooted else None)
        ctx.rooted = rooted
        return distances

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        a, b, distances = ctx.saved_tensors
        for_a, for_b = ctx.needs_input_grad[:2]
        known = a if distances is None else distances
        grad_a, grad_b = torch.ops.lossbench_native.pairwise_distance_backward.default(
            upstream, a, b, known, ctx.rooted, for_a, for_b
        )
        return grad_a if for_a else None, grad_b if for_b else None, None, None
