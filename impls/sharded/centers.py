"""What the losses with centres in shards have in common: their squares, and how centres move."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lossbench.impls.recomputation import in_backward
from lossbench.impls.sharded.rank_part import differences, square_sum
from lossbench.impls.sharded.samples import JoinedSamples
from lossbench.impls.sharded.shards import Sharded, own_places, own_shard


class ShardedCenters(Sharded):
    """A base class of the losses with centres."""

    centers: nn.Parameter
    center_rate: float = 0

    def _own_square(self, samples: JoinedSamples) -> Tensor:
        """Return the sum of the squared distances to the centres in this shard, 0-d.

        Centres with a rate are constants in the loss, and move.
        """
        num_classes = self.centers.size(0)
        samples.refuse_strays(num_classes)
        places = own_places(samples.labels, num_classes, samples.batch.ranks)
        own = (places >= 0).nonzero().squeeze(1)
        rows, places = samples.rows.index_select(0, own), places.index_select(0, own)
        table = own_shard(self.centers.detach() if self.center_rate else self.centers)
        moves = bool(self.center_rate) and self.training and not in_backward()
        square = square_sum(self.kernels, rows, table, places, moves=moves)
        if moves:
            rate, diff = self.center_rate, differences(rows.detach(), table, places)
            move_centers(table, diff, places, lambda counts: rate / (1 + counts))
        return square

    def _joined(self, embeddings: Tensor, labels: Tensor) -> JoinedSamples:
        return JoinedSamples.of(embeddings, labels, self._meet(embeddings))


@torch.no_grad()
def move_centers(
    shard: Tensor,
    rows: Tensor,
    places: Tensor,
    share: Callable[[Tensor], Tensor],
    momentum: float = 1,
) -> None:
    """Multiply centres by ``momentum``, and add ``share(n) · Σ rows`` of each class, in place.

    Args:
        shard: the centres ``[C_r, D]``.
        rows: one row per sample of these classes, ``[B_r, D]``.
        places: the places of the samples' classes in the shard, ``[B_r]``.
        share: a function from the number n of a class's samples, 1 or more, to its factor.
        momentum: the factor of all centres.
    """
    classes, found, counts = torch.unique(places, return_inverse=True, return_counts=True)
    sums = rows.new_zeros(len(classes), rows.size(1)).index_add_(0, found, rows)
    shard.mul_(momentum)
    moves = sums * share(counts.to(rows.dtype)).unsqueeze(1)
    shard.index_add_(0, classes, moves.to(shard.dtype))
