"""The contrastive losses over the pairs of all processes: no rows leave their process."""

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.precision import widened
from lossbench.impls.sharded.collectives import own_rows, total
from lossbench.impls.sharded.limits import SHARDED
from lossbench.impls.sharded.rank_part import pair_sum, square_sum
from lossbench.impls.sharded.shards import Sharded
from lossbench.impls.sharded.variants import register_sharded


class _ShardedContrastive(Sharded):
    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def _own(self, x0: Tensor, x1: Tensor, same: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wide = widened(torch.promote_types(x0.dtype, x1.dtype))
        rows = own_rows(x0.to(wide), self.ranks), own_rows(x1.to(wide), self.ranks)
        return (*rows, same.to(wide).expand(len(x0)))


@register_sharded("contrastive", **SHARDED)
class Contrastive(_ShardedContrastive):
    """Each process computes its pairs; one number is summed over the processes."""

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss of all processes' pairs."""
        batch = self._meet(x0)
        losses = pair_sum(self.kernels, *self._own(x0, x1, same), self.margin)
        return LossOnly(total(losses / batch.samples, self.ranks))


@register_sharded("contrastive_whole_batch", **SHARDED)
class ContrastiveWholeBatch(_ShardedContrastive):
    """The squares and the similar pairs are summed over the processes."""

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss of all processes' pairs, with one distance for all."""
        batch = self._meet(x0)
        x0, x1, same = self._own(x0, x1, same)
        places = torch.arange(len(x0), device=x0.device)
        square = square_sum(self.kernels, x0, x1, places, moves=False)
        square, similar = total(torch.stack((square, same.sum())), self.ranks).unbind()
        distance = square.sqrt()
        pulls = similar * distance.square()
        shortfall = (self.margin - distance).clamp(min=0)
        pushes = (batch.samples - similar) * shortfall.square()
        return LossOnly((pulls + pushes) / (2 * batch.samples))
