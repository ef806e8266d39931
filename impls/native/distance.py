"""Distances by native operators, one for each pass."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import Distances
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.native.gradients import NativeFunction
from lossbench.impls.native.operators import NATIVE, Native, alike
from lossbench.impls.native.pairwise import native_distances
from lossbench.impls.registry import register


class _PairwiseModule(Native):
    """Distances in tiles, by the expanded square.

    Attributes:
        rooted: true if squares are clamped and their roots are taken.
    """

    rooted: bool

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return ``distances [M, N]``."""
        # Roots stay wide, as the backward pass divides by them.
        distances = native_distances(a, b, rooted=self.rooted, rounded=not self.rooted)
        return Distances(distances)


@register("pairwise_distance", "native", **NATIVE)
class PairwiseDistance(_PairwiseModule):
    """The root of the clamped square."""

    rooted = True


@register("pairwise_squared_distance", "native", **NATIVE)
class PairwiseSquaredDistance(_PairwiseModule):
    """The square, unclamped; only the rows are saved for the backward pass."""

    rooted = False


@register("vector_distance", "native", **NATIVE)
class VectorDistance(Native):
    """The root of the rows' squares; the gradient is one factor, and 0 at 0."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return the one distance, 0-d."""
        if a.dim() != 2:
            a, b = a.reshape(1, -1), b.reshape(1, -1)
        return Distances(_NativeVector.apply(*alike(a, b)))


class _NativeVector(NativeFunction):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        distance: Tensor = torch.ops.lossbench_native.vector_distance.default(a, b)
        ctx.save_for_backward(a, b, distance)
        return distance

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        a, b, distance = ctx.saved_tensors
        grad_a, grad_b = torch.ops.lossbench_native.vector_distance_backward.default(
            upstream, a, b, distance
        )
        return (
            grad_a if ctx.needs_input_grad[0] else None,
            grad_b if ctx.needs_input_grad[1] else None,
        )
