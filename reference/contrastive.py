"""Contrastive losses of document 004 and of its paper, over pairs of samples."""

import torch
from torch import Tensor, nn

from lossbench.reference.outputs import LossOnly


class ContrastiveWholeBatch(nn.Module):
    """Contrastive loss with one distance for the whole batch (document 004).

    ``loss = mean_i ½ (y_i d² + (1 - y_i) max(0, m - d)²)`` with ``d = ‖x0 - x1‖`` over all elements
    of the batch. Hadsell et al. 2006 take one distance per pair, and label a similar pair 0.

    Args:
        margin: margin m; 1.2 in the document.
    """

    def __init__(self, margin: float = 1.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss.

        Args:
            x0: first samples of the pairs, ``[B, D]``.
            x1: second samples of the pairs, ``[B, D]``.
            same: 1 for a similar pair, else 0; ``[B]``, or ``[1]`` for the whole batch.
        """
        same = same.to(x0.dtype)
        distance = torch.sqrt(torch.sum(torch.pow(x0 - x1, 2)))
        shortfall = torch.clamp(self.margin - distance, min=0.0)
        loss = same * torch.pow(distance, 2) + (1 - same) * torch.pow(shortfall, 2)
        return LossOnly(torch.mean(loss / 2))


class Contrastive(nn.Module):
    """Contrastive loss: pulls similar pairs together, pushes others a margin apart.

    ``loss = mean_i ½ (y_i d_i² + (1 - y_i) max(0, m - d_i)²)`` with ``d_i = ‖x0_i - x1_i‖``.
    Hadsell et al. 2006 label a similar pair 0, and sum over pairs. At ``d_i = 0`` the distance has
    no gradient; it is set to 0, so equal embeddings of a dissimilar pair do not move.

    Args:
        margin: margin m.
    """

    def __init__(self, margin: float = 1.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss.

        Args:
            x0: first samples of the pairs, ``[B, D]``.
            x1: second samples of the pairs, ``[B, D]``.
            same: 1 for a similar pair, else 0; ``[B]``, or ``[1]`` for the whole batch.
        """
        same = same.to(x0.dtype)
        # The gradient of a root of a sum is NaN at 0; that of ``vector_norm`` is 0.
        distance = torch.linalg.vector_norm(x0 - x1, dim=1)
        shortfall = torch.clamp(self.margin - distance, min=0.0)
        loss = same * torch.pow(distance, 2) + (1 - same) * torch.pow(shortfall, 2)
        return LossOnly(torch.mean(loss / 2))
