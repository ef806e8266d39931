"""The logits of each head at inference: without labels, and so without a margin."""

import torch
import torch.nn.functional as F
from torch import Tensor


def products(embeddings: Tensor, weight: Tensor) -> Tensor:
    """Return ``x_i · w_j`` of ``embeddings [B, D]`` and ``weight [D, C]``, ``[B, C]``."""
    return embeddings @ weight


def max_norm(weight: Tensor) -> Tensor:
    """Return the columns of ``weight [D, C]`` brought to length 1 by a max-norm."""
    length = torch.linalg.vector_norm(weight, dim=0)
    # renorm's max-norm: columns of 1e-5 or less are stretched by 1e5, not normalised.
    return weight / F.threshold(length + 1e-7, 1e-5 + 1e-7, 1e-5)


def max_norm_products(embeddings: Tensor, weight: Tensor) -> Tensor:
    """Return ``x_i · ŵ_j``, ``[B, C]``, the columns brought to length 1 by a max-norm."""
    return embeddings @ max_norm(weight)


def cosines(embeddings: Tensor, weight: Tensor, scale: float = 1) -> Tensor:
    """Return ``s cos(x_i, w_j)``, ``[B, C]``."""
    return scale * (F.normalize(embeddings) @ F.normalize(weight, dim=0))


def projections(embeddings: Tensor, weight: Tensor) -> Tensor:
    """Return ``‖x_i‖ cos(x_i, w_j)``, ``[B, C]``."""
    # One factor for a zero row as for any other: its cosines are 0.
    return products(embeddings, F.normalize(weight, dim=0))
