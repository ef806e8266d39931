"""The centre losses with their centres in shards.

Every process has the rows of all processes, and computes those with a class in its shard.
"""

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits, LossOnly
from lossbench.impls.moving import RatedCenters, RatedCentersAndWeights
from lossbench.impls.sharded.centers import ShardedCenters
from lossbench.impls.sharded.collectives import total
from lossbench.impls.sharded.cross_entropy import (
    ShardedWeights,
    ShardRule,
    sharded_cross_entropy,
)
from lossbench.impls.sharded.limits import SHARDED
from lossbench.impls.sharded.shards import own_shard
from lossbench.impls.sharded.variants import register_sharded
from lossbench.impls.state import CentersAndWeights, ClassCenters, IslandCenters


@register_sharded("center_mse", **SHARDED)
class CenterMse(ShardedCenters, ClassCenters):
    """The sum over the processes is divided by all elements of the joined batch."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of all processes' samples."""
        samples = self._joined(embeddings, labels)
        return LossOnly(total(self._own_square(samples), self.ranks) / samples.rows.numel())


@register_sharded("center", **SHARDED)
class Center(ShardedCenters, RatedCenters):
    """Half of the sum over the processes."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of all processes' samples."""
        return LossOnly(total(self._own_square(self._joined(embeddings, labels)), self.ranks) / 2)


@register_sharded("softmax_center", leaves_out=("logits",), **SHARDED)
class SoftmaxCenter(ShardedCenters, ShardedWeights, RatedCentersAndWeights):
    """The two sums, from one gather of the rows."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, and no logits."""
        samples = self._joined(embeddings, labels)
        given = (samples, self.weight, ShardRule(), self.options, self.kernels)
        loss = sharded_cross_entropy(*given)
        square = total(self._own_square(samples), self.ranks)
        return LossAndLogits(loss + self.center_weight / 2 * square, None)


@register_sharded("softmax_center_unsquared", leaves_out=("logits",), **SHARDED)
class SoftmaxCenterUnsquared(ShardedCenters, ShardedWeights, CentersAndWeights):
    """One root over the squares of all processes."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, and no logits."""
        samples = self._joined(embeddings, labels)
        given = (samples, self.weight, ShardRule(), self.options, self.kernels)
        loss = sharded_cross_entropy(*given)
        square = total(self._own_square(samples), self.ranks)
        # Clamped, because the gradient of a root is NaN at 0.
        distance = square.clamp(min=torch.finfo(square.dtype).tiny).sqrt()
        return LossAndLogits(loss + self.center_weight / (2 * len(samples.rows)) * distance, None)


@register_sharded("island", **SHARDED)
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
