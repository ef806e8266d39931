"""Sums of softmax and a centre loss: the tiled cross-entropy, and one gather of centres."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.class_rows import class_rows
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.fused.cross_entropy.head import Head
from lossbench.impls.fused.cross_entropy.logsumexp import fused_cross_entropy
from lossbench.impls.moving import MOVES_EAGERLY, RatedCentersAndWeights
from lossbench.impls.precision import widened
from lossbench.impls.registry import register
from lossbench.impls.state import CentersAndWeights


@register(
    "softmax_center_unsquared",
    "fused",
    compiles=True,
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    refuses_labels=True,
)
class SoftmaxCenterUnsquared(CentersAndWeights):
    """One norm over the batch's differences from its centres."""

    head = Head()

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and no logits."""
        loss = fused_cross_entropy(embeddings, self.weight, labels, self.head, self.options)
        diff = embeddings - class_rows(self.centers, labels)
        distance = torch.linalg.vector_norm(diff, dtype=widened(diff.dtype))
        total = loss + self.center_weight / (2 * labels.size(0)) * distance
        return LossAndLogits(total, None)


@register(
    "softmax_center",
    "fused",
    compiles=True,
    limits={**MOVES_EAGERLY, **DIFFERENTIABLE_ONCE},
    leaves_out=("logits",),
    refuses_labels=True,
)
class SoftmaxCenter(RatedCentersAndWeights):
    """The two sums; centres with a rate move by one scatter."""

    head = Head()

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, having moved the centres, and no logits."""
        loss = fused_cross_entropy(embeddings, self.weight, labels, self.head, self.options)
        centers = class_rows(self._centers_in_loss, labels)
        wide = widened(torch.promote_types(embeddings.dtype, centers.dtype))
        distance = F.mse_loss(embeddings.to(wide), centers.to(wide), reduction="sum")
        if self._moves:
            self._move_centers(embeddings - centers, labels)
        total = loss + self.center_weight / 2 * distance
        return LossAndLogits(total, None)
