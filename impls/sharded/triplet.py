"""The batch-hard triplet loss with partners from all processes."""

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.families import Family
from lossbench.impls.precision import without_autocast
from lossbench.impls.sharded.anchors import (
    anchor_blocks,
    mean_over_anchors,
    squared_distances,
)
from lossbench.impls.sharded.limits import SHARDED
from lossbench.impls.sharded.samples import JoinedSamples
from lossbench.impls.sharded.shards import Sharded
from lossbench.impls.sharded.variants import register_sharded

# The root of the document's 1e-12; a distance below it is clamped and has no gradient.
LEAST_DISTANCE = 1e-6


@register_sharded("triplet_batch_hard", **SHARDED)
class TripletBatchHard(Sharded):
    """Each process mines for its own anchors, without a gradient.

    The gradient of the chosen distances, computed from differences, goes to the partners in other
    processes too.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    @without_autocast
    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the correct anchors of all processes' samples."""
        batch = self._meet(embeddings)
        samples = JoinedSamples.of(embeddings, labels, batch)
        samples.refuse_one_class()
        losses, correct = [], []
        for block in anchor_blocks(batch):
            positive, negative = _hardest(self.kernels, samples, block)
            furthest = _distances(samples.rows, block, positive)
            closest = _distances(samples.rows, block, negative)
            losses.append((furthest - closest + self.margin).relu().sum())
            correct.append((closest >= furthest).count_nonzero())
        return LossAndCorrect(*mean_over_anchors(losses, correct, batch))


@torch.no_grad()
def _hardest(kernels: Family, samples: JoinedSamples, block: slice) -> tuple[Tensor, Tensor]:
    """Return the places of each anchor's furthest positive and of its closest negative, ``[N]``."""
    squared = squared_distances(kernels, samples.rows, block)
    same = samples.labels[block].unsqueeze(1) == samples.labels
    positive = torch.where(same, squared, -torch.inf).argmax(1)
    return positive, squared.masked_fill_(same, torch.inf).argmin(1)


def _distances(rows: Tensor, block: slice, partners: Tensor) -> Tensor:
    differences = rows[block] - rows.index_select(0, partners)
    lengths: Tensor = torch.linalg.vector_norm(differences, dim=1)
    return lengths.clamp(min=LEAST_DISTANCE)
