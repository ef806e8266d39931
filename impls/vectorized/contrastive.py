"""The contrastive losses: of a whole batch, linear in the mean of its labels, and of each pair."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.precision import widened
from lossbench.impls.registry import register


@register("contrastive_whole_batch", "vectorized", compiles=True)
class ContrastiveWholeBatch(nn.Module):
    """One norm, and the mean label in place of a term a pair.

    ``mean_i (y_i d² + (1 - y_i) h²) = ȳ d² + (1 - ȳ) h²``. The norm's gradient at 0 is 0, so that
    equal batches have a finite gradient where the document's is NaN.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        wide = widened(x0.dtype)
        share = same.to(wide).mean()
        # Row by row: one norm over everything would lose digits by the length of the batch.
        lengths = torch.linalg.vector_norm(x0.to(wide) - x1.to(wide), dim=-1)
        distance = torch.linalg.vector_norm(lengths)
        shortfall = F.relu(self.margin - distance)
        return LossOnly((share * distance.square() + (1 - share) * shortfall.square()) / 2)


@register("contrastive", "vectorized", compiles=True)
class Contrastive(nn.Module):
    """One pass for the squared distances of all pairs, from which both terms are made."""

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
