"""Distances between all rows by one matrix product, and the distance of two arrays."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.impls.catalogue import Distances
from lossbench.impls.formulas import LEAST_SQUARED_DISTANCE
from lossbench.impls.precision import widened, without_autocast, without_noise
from lossbench.impls.registry import register


@without_autocast
def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return ``‖a_i - b_j‖²`` of ``a [M, D]``, ``b [N, D]``: ``[M, N]``, computed wide."""
    wide = widened(a.dtype)
    a, b = a.to(wide), b.to(wide)
    lengths = a.square().sum(1, keepdim=True) + b.square().sum(1)
    return torch.addmm(lengths, a, b.t(), alpha=-2)


@register("pairwise_distance", "vectorized", compiles=True)
class PairwiseDistance(nn.Module):
    """The square root of the clamped expanded square."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return ``distances [M, N]``."""
        squared = squared_distances(a, b)
        if torch.compiler.is_compiling():
            squared = without_noise(squared, a, b)
        return Distances(squared.clamp(min=LEAST_SQUARED_DISTANCE).sqrt())


@register("pairwise_squared_distance", "vectorized", compiles=True)
class PairwiseSquaredDistance(nn.Module):
    """The expanded square, unclamped."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return squared ``distances [M, N]``."""
        return Distances(squared_distances(a, b))


@register("vector_distance", "vectorized", compiles=True)
class VectorDistance(nn.Module):
    """The root of the summed squared error; only the arrays are saved for its gradient."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return the one distance, 0-d."""
        wide = widened(a.dtype)
        return Distances(_distance(a.to(wide), b.to(wide)))


def _distance(a: Tensor, b: Tensor) -> Tensor:
    # The root's gradient at 0 is infinite, but relu's gradient there is 0 for any upstream value.
    return F.mse_loss(a, b, reduction="sum").relu().sqrt()
