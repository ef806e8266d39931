"""The centre losses of the paper: one gather, and the centres moved by one scatter."""

import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits, LossOnly
from lossbench.impls.class_rows import class_rows
from lossbench.impls.moving import MOVES_EAGERLY, RatedCenters, RatedCentersAndWeights
from lossbench.impls.registry import register


@register("center", "vectorized", compiles=True, limits=MOVES_EAGERLY, refuses_labels=True)
class Center(RatedCenters):
    """One gather and one sum."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, and move the centres if they have a rate."""
        labels = labels.long()
        diff = embeddings - class_rows(self._centers_in_loss, labels)
        self._move_centers(diff, labels)
        return LossOnly(diff.square().sum() / 2)


@register("softmax_center", "vectorized", compiles=True, limits=MOVES_EAGERLY, refuses_labels=True)
class SoftmaxCenter(RatedCentersAndWeights):
    """The sum of both losses."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``, and move the centres if they have a rate."""
        labels = labels.long()
        logits = self.logits(embeddings)
        loss = self.options.cross_entropy(logits, labels)
        centers = class_rows(self._centers_in_loss, labels)
        distance = F.mse_loss(embeddings, centers, reduction="sum")
        if self._moves:
            self._move_centers(embeddings - centers, labels)
        return LossAndLogits(loss + self.center_weight / 2 * distance, logits)
