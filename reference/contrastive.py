"""Document 004, and its paper: the contrastive loss of a pair of batches."""

import torch
from torch import Tensor, nn

from lossbench.reference.outputs import LossOnly


class ContrastiveWholeBatch(nn.Module):
    """One distance for the whole batch, under every pair's label (document 004).

    ``loss = mean_i ½ (y_i d² + (1 - y_i) max(0, m - d)²)`` with ``d = ‖x0 - x1‖`` over all elements
    of the batch. Hadsell et al. 2006 take one distance a pair, and 0 for a similar pair.

    Args:
        margin: m; 1.2 in the document.
    """

    def __init__(self, margin: float = 1.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss.

        Args:
            x0: the first of each pair, ``[B, D]``.
            x1: the second of each pair, ``[B, D]``.
            same: 1 where a pair is of one class, else 0; ``[B]``, or ``[1]`` for the whole batch.
        """
        same = same.to(x0.dtype)
        distance = torch.sqrt(torch.sum(torch.pow(x0 - x1, 2)))
        shortfall = torch.clamp(self.margin - distance, min=0.0)
        loss = same * torch.pow(distance, 2) + (1 - same) * torch.pow(shortfall, 2)
        return LossOnly(torch.mean(loss / 2))


class Contrastive(nn.Module):
    """Similar pairs together, the others a margin apart (Hadsell et al. 2006).

    ``loss = mean_i ½ (y_i d_i² + (1 - y_i) max(0, m - d_i)²)`` with ``d_i = ‖x0_i - x1_i‖``. The
    paper writes 0 for a similar pair, and sums over pairs. At ``d_i = 0`` the distance has no
    gradient; 0 is taken for it, so that equal embeddings of dissimilar pairs do not move.

    Args:
        margin: m.
    """

    def __init__(self, margin: float = 1.2) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss.

        Args:
            x0: the first of each pair, ``[B, D]``.
            x1: the second of each pair, ``[B, D]``.
            same: 1 where a pair is similar, else 0; ``[B]``, or ``[1]`` for the whole batch.
        """
        same = same.to(x0.dtype)
        # Not the root of a sum, whose gradient at 0 is NaN: this norm's is 0.
        distance = torch.linalg.vector_norm(x0 - x1, dim=1)
        shortfall = torch.clamp(self.margin - distance, min=0.0)
        loss = same * torch.pow(distance, 2) + (1 - same) * torch.pow(shortfall, 2)
        return LossOnly(torch.mean(loss / 2))
