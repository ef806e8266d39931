"""The centre losses with their centres in shards.

Every process has the rows of all processes, and computes those with a class in its shard.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lossbench.impls.catalogue import LossAndLogits, LossOnly
from lossbench.impls.class_rows import class_rows
from lossbench.impls.moving import RatedCenters, RatedCentersAndWeights
from lossbench.impls.precision import widened
from lossbench.impls.recomputation import in_backward
from lossbench.impls.registry import register
from lossbench.impls.sharded.collectives import total
from lossbench.impls.sharded.cross_entropy import (
    ShardedWeights,
    ShardRule,
    sharded_cross_entropy,
)
from lossbench.impls.sharded.limits import SHARDED
from lossbench.impls.sharded.samples import JoinedSamples
from lossbench.impls.sharded.shards import Sharded, own_places, own_shard
from lossbench.impls.state import CentersAndWeights, ClassCenters, IslandCenters


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
        diff = rows - class_rows(table, places).to(widened(table.dtype))
        if self.center_rate and self.training and not in_backward():
            rate = self.center_rate
            move_centers(table, diff.detach(), places, lambda counts: rate / (1 + counts))
        return diff.square().sum()

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
    classes, found, counts = places.unique(return_inverse=True, return_counts=True)
    sums = rows.new_zeros(len(classes), rows.size(1)).index_add_(0, found, rows)
    shard.mul_(momentum)
    moves = sums * share(counts.to(rows.dtype)).unsqueeze(1)
    shard.index_add_(0, classes, moves.to(shard.dtype))


@register("center_mse", "sharded", **SHARDED)
class CenterMse(ShardedCenters, ClassCenters):
    """The sum over the processes is divided by all elements of the joined batch."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of all processes' samples."""
        samples = self._joined(embeddings, labels)
        return LossOnly(total(self._own_square(samples), self.ranks) / samples.rows.numel())


@register("center", "sharded", **SHARDED)
class Center(ShardedCenters, RatedCenters):
    """Half of the sum over the processes."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of all processes' samples."""
        return LossOnly(total(self._own_square(self._joined(embeddings, labels)), self.ranks) / 2)


@register("softmax_center", "sharded", leaves_out=("logits",), **SHARDED)
class SoftmaxCenter(ShardedCenters, ShardedWeights, RatedCentersAndWeights):
    """The two sums, from one gather of the rows."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, and no logits."""
        samples = self._joined(embeddings, labels)
        loss = sharded_cross_entropy(samples, self.weight, ShardRule(), self.options)
        square = total(self._own_square(samples), self.ranks)
        return LossAndLogits(loss + self.center_weight / 2 * square, None)


@register("softmax_center_unsquared", "sharded", leaves_out=("logits",), **SHARDED)
class SoftmaxCenterUnsquared(ShardedCenters, ShardedWeights, CentersAndWeights):
    """One root over the squares of all processes."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, and no logits."""
        samples = self._joined(embeddings, labels)
        loss = sharded_cross_entropy(samples, self.weight, ShardRule(), self.options)
        square = total(self._own_square(samples), self.ranks)
        # Clamped, because the gradient of a root is NaN at 0.
        distance = square.clamp(min=torch.finfo(square.dtype).tiny).sqrt()
        return LossAndLogits(loss + self.center_weight / (2 * len(samples.rows)) * distance, None)


@register("island", "sharded", **SHARDED)
class Island(ShardedCenters, IslandCenters):
    """The sum of the unit centres is summed over the processes, ``[D]``.

    ``Σ_{j<k} (cos(c_j, c_k) + 1) = (‖s‖² - C) / 2 + C (C - 1) / 2`` with ``s = Σ_j ĉ_j``.
    """

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of all processes' samples."""
        square = self._own_square(self._joined(embeddings, labels))
        shard = own_shard(self.centers).to(square.dtype)
        units = shard / torch.linalg.vector_norm(shard, dim=1, keepdim=True)
        joined = total(torch.cat((units.sum(0), square.unsqueeze(0))), self.ranks)
        count = self.centers.size(0)
        pairs = joined[:-1].square().sum() / 2 + count * (count / 2 - 1)
        return LossOnly(self.island_weight * pairs + joined[-1] / (2 * self.batch_size))
