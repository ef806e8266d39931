"""Distances between all rows by one product."""

import torch
from torch import Tensor, nn

from impls.catalogue import Distances
from impls.registry import register


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return ``‖a_i - b_j‖²`` of ``a [M, D]``, ``b [N, D]`` by the expanded square: ``[M, N]``."""
    lengths = a.square().sum(1, keepdim=True) + b.square().sum(1)
    return torch.addmm(lengths, a, b.t(), alpha=-2)


@register("pairwise_distance", "vectorized", compiles=True)
class PairwiseDistance(nn.Module):
    """The square root of the clamped expanded square."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return ``distances [M, N]``."""
        return Distances(squared_distances(a, b).clamp(min=1e-12).sqrt())


@register("pairwise_squared_distance", "vectorized", compiles=True)
class PairwiseSquaredDistance(nn.Module):
    """The expanded square, unclamped."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return squared ``distances [M, N]``."""
        return Distances(squared_distances(a, b))


@register("vector_distance", "vectorized", compiles=True)
class VectorDistance(nn.Module):
    """The norm of the rows' norms, whose gradient at 0 is 0.

    One norm over everything would sum in a row, and lose digits by the length of the array.
    """

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return the one distance, 0-d."""
        return Distances(torch.linalg.vector_norm(torch.linalg.vector_norm(a - b, dim=-1)))
