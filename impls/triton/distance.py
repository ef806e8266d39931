"""Distances by Triton kernels: the tiles of a product, and one kernel for each side's gradient."""

import math
from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import Distances
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.registry import register
from lossbench.impls.triton.differences import triton_differences
from lossbench.impls.triton.loaded import TRITON, OnTriton

# A whole array is read in rows of at most this many elements.
LONGEST_ROW = 1024


class _PairwiseOnTriton(OnTriton):
    """Distances in tiles, by the expanded square.

    Attributes:
        rooted: whether squares are clamped and their roots are taken.
    """

    operators = ("pairwise",)
    rooted: bool

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return ``distances [M, N]``."""
        dtype = torch.promote_types(a.dtype, b.dtype)
        inputs = a.to(dtype).contiguous(), b.to(dtype).contiguous(), self.rooted
        return Distances(_Pairwise.apply(*inputs))  # type: ignore[no-untyped-call]


@register("pairwise_distance", "triton", **TRITON)
class PairwiseDistance(_PairwiseOnTriton):
    """The root of the clamped square."""

    rooted = True


@register("pairwise_squared_distance", "triton", **TRITON)
class PairwiseSquaredDistance(_PairwiseOnTriton):
    """The square; only the rows are saved for the backward pass."""

    rooted = False


@register("vector_distance", "triton", **TRITON)
class VectorDistance(OnTriton):
    """The root of the rows' squares; the gradient is one factor, and 0 at 0."""

    operators = ("centers",)

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return the one distance, 0-d."""
        if a.dim() != 2:
            shape = -1, math.gcd(a.numel(), LONGEST_ROW)
            a, b = a.reshape(shape), b.reshape(shape)
        value = triton_differences("differences", a, b, None, 1.0, "whole", True, False)
        return Distances(value)


class _Pairwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, rooted: bool) -> Tensor:
        distances: Tensor = torch.ops.lossbench_triton.pairwise.default(a, b, rooted)
        ctx.save_for_backward(a, b, distances if rooted else None)
        return distances

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        for_a, for_b = ctx.needs_input_grad[:2]
        grad_a, grad_b = torch.ops.lossbench_triton.pairwise_backward.default(
            upstream.contiguous(), *ctx.saved_tensors, for_a, for_b
        )
        return grad_a if for_a else None, grad_b if for_b else None, None
