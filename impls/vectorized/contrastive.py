"""The contrastive losses: of the whole batch, linear in its mean label, and of each pair."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.precision import widened
from lossbench.impls.registry import register


@register("contrastive_whole_batch", "vectorized", compiles=True)
class ContrastiveWholeBatch(nn.Module):
    """One norm, and the mean label in place of one term per pair.

    ``mean_i (y_i d² + (1 - y_i) h²) = ȳ d² + (1 - ȳ) h²``. The norm's gradient at 0 is 0, so equal
    batches have a finite gradient; the document's is NaN.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        wide = widened(x0.dtype)
        share = same.to(wide).mean()
        # One norm over all elements of a long batch would lose digits, so rows come first.
        lengths = torch.linalg.vector_norm(x0.to(wide) - x1.to(wide), dim=-1)
        distance = torch.linalg.vector_norm(lengths)
        shortfall = F.relu(self.margin - distance)
        return LossOnly((share * distance.square() + (1 - share) * shortfall.square()) / 2)


@register("contrastive", "vectorized", compiles=True)
class Contrastive(nn.Module):
    """One pass for the distances of all pairs; both terms use them."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        wide = widened(x0.dtype)
        distance = torch.linalg.vector_norm(x0.to(wide) - x1.to(wide), dim=1)
        shortfall = F.relu(self.margin - distance)
        loss = torch.lerp(shortfall.square(), distance.square(), same.to(wide))
        return LossOnly(loss.mean() / 2)
