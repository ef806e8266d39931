"""The contrastive losses over the pairs of all processes: no rows leave their process."""

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.precision import widened
from lossbench.impls.registry import register
from lossbench.impls.sharded.collectives import own_rows, total
from lossbench.impls.sharded.limits import SHARDED
from lossbench.impls.sharded.shards import Sharded


class _ShardedContrastive(Sharded):
    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def _differences(self, x0: Tensor, x1: Tensor) -> Tensor:
        wide = widened(torch.promote_types(x0.dtype, x1.dtype))
        return own_rows(x0.to(wide), self.ranks) - own_rows(x1.to(wide), self.ranks)

    def _shortfall(self, distance: Tensor) -> Tensor:
        return (self.margin - distance).clamp(min=0)


@register("contrastive", "sharded", **SHARDED)
class Contrastive(_ShardedContrastive):
    """Each process computes its pairs; one number is summed over the processes."""

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss of all processes' pairs."""
        batch = self._meet(x0)
        distance = torch.linalg.vector_norm(self._differences(x0, x1), dim=1)
        same = same.to(distance.dtype)
        losses = same * distance.square() + (1 - same) * self._shortfall(distance).square()
        return LossOnly(total(losses.sum() / (2 * batch.samples), self.ranks))


@register("contrastive_whole_batch", "sharded", **SHARDED)
class ContrastiveWholeBatch(_ShardedContrastive):
    """The squares and the similar pairs are summed over the processes."""

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss of all processes' pairs, with one distance for all."""
        batch = self._meet(x0)
        square = self._differences(x0, x1).square().sum()
        similar = same.to(square.dtype).expand(len(x0)).sum()
        square, similar = total(torch.stack((square, similar)), self.ranks).unbind()
        distance = square.sqrt()
        pulls = similar * distance.square()
        pushes = (batch.samples - similar) * self._shortfall(distance).square()
        return LossOnly((pulls + pushes) / (2 * batch.samples))
