"""Softmax, modified softmax and NormFace with their class weights in shards."""

import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.scores import max_norm
from lossbench.impls.sharded.cross_entropy import (
    ShardedHead,
    ShardRule,
    row_products,
    unit_rows,
)
from lossbench.impls.sharded.limits import SHARDED_HEAD
from lossbench.impls.sharded.variants import register_sharded
from lossbench.impls.state import ClassWeights, CosineWeights, MaxNormWeights


@register_sharded("softmax", **SHARDED_HEAD)
class Softmax(ShardedHead, ClassWeights):
    """The products are the logits."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, and no logits."""
        return self._cross_entropy(embeddings, labels, ShardRule())


@register_sharded("modified_softmax", **SHARDED_HEAD)
class ModifiedSoftmax(ShardedHead, MaxNormWeights):
    """Each shard scales its columns, tile by tile."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, and no logits."""

        def target(rows: Tensor, columns: Tensor) -> Tensor:
            return row_products(rows, max_norm(columns.t()).t())

        rule = ShardRule("max_norm", target)
        return self._cross_entropy(embeddings, labels, rule)


@register_sharded("normface", **SHARDED_HEAD)
class NormFace(ShardedHead, CosineWeights):
    """Each process scales its rows before they are gathered, and its columns tile by tile."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, and no logits."""

        def target(rows: Tensor, columns: Tensor) -> Tensor:
            return row_products(rows, F.normalize(columns))

        rule = ShardRule("unit", target)
        return self._cross_entropy(unit_rows(embeddings, self.scale), labels, rule)
