"""Distances of documents 003 and 004, from which losses are built."""

import torch
from torch import Tensor, nn

from lossbench.reference.outputs import Distances


def pairwise_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return ``√max(‖a_i - b_j‖², 1e-12)``, ``[M, N]``, of ``a [M, D]`` and ``b [N, D]``."""
    # float16 has no 1e-12, and at its 0 the root has no finite gradient.
    wide = torch.promote_types(a.dtype, torch.float32)
    a, b = a.to(wide), b.to(wide)
    m, n = a.size(0), b.size(0)
    a_squared = a.pow(2).sum(1, keepdim=True).expand(m, n)
    b_squared = b.pow(2).sum(1, keepdim=True).expand(n, m).t()
    squared = (a_squared + b_squared).addmm_(a, b.t(), beta=1, alpha=-2)
    return squared.clamp(min=1e-12).sqrt()


class PairwiseDistance(nn.Module):
    """Euclidean distances by the expanded square (003 ``pdist_torch``, 004 ``euclidean_dist``).

    ``d_ij = √max(‖a_i‖² + ‖b_j‖² - 2 a_i·b_j, 1e-12)``
    """

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return ``distances [M, N]`` between the rows of ``a [M, D]`` and ``b [N, D]``."""
        return Distances(pairwise_distance(a, b))


class PairwiseSquaredDistance(nn.Module):
    """Squared Euclidean distances, unclamped (003 ``pdist_np``, there in NumPy).

    ``d²_ij = -2 a_i·b_j + ‖a_i‖² + ‖b_j‖²``; rounding can make it negative.
    """

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return squared ``distances [M, N]`` of the rows of ``a [M, D]`` and ``b [N, D]``."""
        a_squared = a.square().sum(dim=1).unsqueeze(1)
        b_squared = b.square().sum(dim=1).unsqueeze(0)
        return Distances(-2 * torch.matmul(a, b.t()) + a_squared + b_squared)


class VectorDistance(nn.Module):
    """One Euclidean distance between two whole arrays (004 ``euclidean_dist_vector``).

    ``d = √Σ (a - b)²``, with a NaN gradient at ``d = 0``.
    """

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return the distance, 0-d, of two arrays ``a`` and ``b`` of the same shape."""
        return Distances(torch.sqrt(torch.sum(torch.pow(a - b, 2))))
