"""Distances by Triton kernels: the tiles of a product, and one kernel for each side's gradient."""

import math

from torch import Tensor

from lossbench.impls.catalogue import Distances
from lossbench.impls.registry import register
from lossbench.impls.triton.differences import triton_differences
from lossbench.impls.triton.loaded import TRITON, OnTriton
from lossbench.impls.triton.pairwise import triton_distances

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
        return Distances(triton_distances(a, b, rooted=self.rooted))


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
