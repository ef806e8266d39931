"""The centre losses without intermediates ``[B, B, D]`` and ``[C, C]``."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits, LossOnly
from lossbench.impls.class_rows import class_rows
from lossbench.impls.formulas import ADDED_SQUARE
from lossbench.impls.moving import AveragingCenters
from lossbench.impls.precision import FEW_FEATURES
from lossbench.impls.registry import register
from lossbench.impls.state import CentersAndWeights, ClassCenters, IslandCenters


@register("softmax_center_unsquared", "vectorized", compiles=True, refuses_labels=True)
class SoftmaxCenterUnsquared(CentersAndWeights):
    """One gather for the centres and one norm over the batch."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``."""
        labels = labels.long()
        diff = embeddings - class_rows(self.centers, labels)
        distance = torch.linalg.vector_norm(diff)
        logits = self.logits(embeddings)
        loss = self.options.cross_entropy(logits, labels)
        return LossAndLogits(loss + self.center_weight / (2 * labels.size(0)) * distance, logits)


@register("center_all_pairs", "vectorized", compiles=True)
class CenterAllPairs(AveragingCenters):
    """All distances by the expanded square: ``[B, B]`` in place of ``[B, B, D]``.

    It loses digits if a sample lies close to a centre. Training draws each sample to its own
    centre, so those distances are computed from the difference. With few features a sample comes
    close to any centre, so all distances are.
    """

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, and move the centres."""
        centers = class_rows(self.centers, labels)
        own = ((embeddings - centers).square().sum(1) + ADDED_SQUARE).sqrt()
        is_own = labels.unsqueeze(1) == labels
        others = (_squared_to_centers(embeddings, centers) + ADDED_SQUARE).sqrt_()
        others = others.masked_fill(is_own, 0)
        self._move_centers(embeddings, labels)
        # The compiler adds terms one by one, and loses digits over B² terms, so rows come first.
        total = (others.sum(1) + is_own.sum(1) * own).sum()
        return LossOnly(total / (2 * labels.size(0)))


def _squared_to_centers(x: Tensor, centers: Tensor) -> Tensor:
    """Return ``‖x_i - c_j‖²`` of ``x [B, D]`` and ``centers [B, D]``: ``[B, B]``."""
    if x.size(1) <= FEW_FEATURES:
        return (x.unsqueeze(1) - centers).square().sum(2)
    lengths = x.square().sum(1, keepdim=True) + centers.square().sum(1)
    # Rounding may make a square negative, which the document's sum never is.
    return torch.addmm(lengths, x, centers.t(), alpha=-2).relu_()


@register("center_mse", "vectorized", compiles=True, refuses_labels=True)
class CenterMse(ClassCenters):
    """One gather and one mean; the document's form is batched already."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        return LossOnly(F.mse_loss(embeddings, class_rows(self.centers, labels)))


@register("island", "vectorized", compiles=True, refuses_labels=True)
class Island(IslandCenters):
    """The cosines of all pairs of centres from the length of the sum of unit centres.

    ``Σ_{j<k} (cos(c_j, c_k) + 1) = (‖Σ_j ĉ_j‖² - C) / 2 + C (C - 1) / 2``
    """

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        diff = embeddings - class_rows(self.centers, labels)
        unit = self.centers / torch.linalg.vector_norm(self.centers, dim=1, keepdim=True)
        count = len(self.centers)
        pairs = (unit.sum(0).square().sum() - count) / 2 + count * (count - 1) / 2
        center_loss = diff.square().sum() / (2 * self.batch_size)
        return LossOnly(center_loss + self.island_weight * pairs)
