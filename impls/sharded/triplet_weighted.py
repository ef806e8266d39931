"""The softmax-weighted triplet losses with the positives and negatives of all processes."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.formulas import LEAST_SQUARED_DISTANCE, soft_margin, unit_rows
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

ADDED_TO_WEIGHTS = 1e-6

# From distances and a mask of positives, ``[N, B]`` each, to the furthest and the closest, ``[N]``.
Weigh = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class _ShardedWeightedTriplet(Sharded):
    weigh: Weigh

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    @without_autocast
    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the correct anchors of all processes' samples."""
        batch = self._meet(embeddings)
        rows = unit_rows(embeddings) if self.normalize else embeddings
        samples = JoinedSamples.of(rows, labels, batch)
        self._check(samples)
        losses, correct = [], []
        for block in anchor_blocks(batch):
            inputs = (samples.rows, samples.labels, block)
            # The distances of a block are computed again in the backward pass.
            gap = checkpoint(self._gap, *inputs, use_reentrant=False, preserve_rng_state=False)
            losses.append(soft_margin(gap).sum())
            correct.append((gap <= 0).count_nonzero())
        return LossAndCorrect(*mean_over_anchors(losses, correct, batch))

    def _check(self, samples: JoinedSamples) -> None:
        """Refuse samples that have no loss."""

    def _gap(self, rows: Tensor, labels: Tensor, block: slice) -> Tensor:
        """Return how much further the furthest is than the closest, for each anchor, ``[N]``."""
        squared = squared_distances(self.kernels, rows, block)
        distances = squared.clamp(min=LEAST_SQUARED_DISTANCE).sqrt()
        same = labels[block].unsqueeze(1) == labels
        furthest, closest = type(self).weigh(distances, same)
        return furthest - closest


def _with_added(distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    near, far = distances * same, distances * ~same
    positive = (near - near.amax(1, keepdim=True)).exp() * same
    negative = (-far).exp() * ~same
    furthest = (near * positive).sum(1) / (positive.sum(1) + ADDED_TO_WEIGHTS)
    return furthest, (far * negative).sum(1) / (negative.sum(1) + ADDED_TO_WEIGHTS)


def _exact(distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    positive = distances.masked_fill(~same, -torch.inf).softmax(1)
    negative = (-distances).masked_fill(same, -torch.inf).softmax(1)
    return (positive * distances).sum(1), (negative * distances).sum(1)


@register_sharded("triplet_weighted_unshifted", **SHARDED)
class TripletWeightedUnshifted(_ShardedWeightedTriplet):
    """The document's weights, with 1e-6 in their sums and the negatives' unshifted."""

    weigh = staticmethod(_with_added)


@register_sharded("triplet_weighted", **SHARDED)
class TripletWeighted(_ShardedWeightedTriplet):
    """Exact weights at any distance."""

    weigh = staticmethod(_exact)

    def _check(self, samples: JoinedSamples) -> None:
        samples.refuse_one_class()
