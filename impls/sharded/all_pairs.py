"""The centre loss over all pairs of a sample and a label, with the centres in shards."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.class_rows import class_rows
from lossbench.impls.formulas import ADDED_SQUARE
from lossbench.impls.moving import AveragingCenters
from lossbench.impls.precision import widened, without_autocast
from lossbench.impls.recomputation import in_backward
from lossbench.impls.registry import register
from lossbench.impls.sharded.anchors import BLOCK_ELEMENTS
from lossbench.impls.sharded.centers import ShardedCenters, move_centers
from lossbench.impls.sharded.collectives import total
from lossbench.impls.sharded.limits import SHARDED
from lossbench.impls.sharded.shards import own_places, own_shard


@register("center_all_pairs", "sharded", **SHARDED)
class CenterAllPairs(ShardedCenters, AveragingCenters):
    """Each process has the columns of its own classes: one per label that occurs, with its count.

    Distances exist a tile of columns at a time, and are computed again in the backward pass. They
    are computed from differences, because a sample may be close to its own centre.
    """

    @without_autocast
    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of all processes' samples, and move the centres."""
        samples = self._joined(embeddings, labels)
        num_classes = self.centers.size(0)
        samples.refuse_strays(num_classes)
        places = own_places(samples.labels, num_classes, self.ranks)
        own = (places >= 0).nonzero().squeeze(1)
        places = places.index_select(0, own)
        classes, counts = torch.unique(places, return_counts=True)
        # A copy, which does not move with the centres.
        columns = class_rows(own_shard(self.centers), classes)
        columns = columns.to(widened(columns.dtype))
        width = max(1, BLOCK_ELEMENTS // len(samples.rows))
        # A process without columns takes part in the backward pass too.
        parts = [samples.rows[:0].sum() + columns[:0].sum()]
        for start in range(0, len(classes), width):
            tile = slice(start, start + width)
            inputs = (samples.rows, columns[tile], counts[tile])
            part = checkpoint(_weighted, *inputs, use_reentrant=False, preserve_rng_state=False)
            parts.append(part)
        loss = total(torch.stack(parts).sum(), self.ranks) / (2 * len(samples.rows))
        if not in_backward():
            rest, shard = 1 - self.momentum, own_shard(self.centers.detach())
            rows = samples.rows.detach().index_select(0, own)
            move_centers(shard, rows, places, lambda n: rest / n, self.momentum)
        return LossOnly(loss)


def _weighted(rows: Tensor, centers: Tensor, counts: Tensor) -> Tensor:
    """Return ``Σ_ij n_j √(‖x_i - c_j‖² + 1e-8)``, 0-d."""
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(rows, centers, compute_mode=exact)
    rooted = (distances.square() + ADDED_SQUARE).sqrt()
    return (rooted @ counts.to(rows.dtype)).sum()
