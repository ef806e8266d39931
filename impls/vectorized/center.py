"""The centre losses, without ``[B, B, D]`` and without ``[C, C]``."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impls.catalogue import LossAndLogits, LossOnly
from impls.registry import register
from impls.state import ClassCenters, ClassWeights


@register("softmax_center_unsquared", "vectorized", compiles=True)
class SoftmaxCenterUnsquared(ClassWeights):
    """One gather for the centres and one norm over the batch."""

    def __init__(self, num_classes: int, embedding_dim: int, center_weight: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.center_weight = center_weight
        self.centers = nn.Parameter(torch.empty(num_classes, embedding_dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``."""
        labels = labels.long()
        diff = embeddings - self.centers.index_select(0, labels)
        distance = torch.linalg.vector_norm(diff)
        logits = embeddings @ self.weight
        loss = F.cross_entropy(logits, labels)
        return LossAndLogits(loss + self.center_weight / (2 * len(labels)) * distance, logits)


@register("center_all_pairs", "vectorized", compiles=True)
class CenterAllPairs(ClassCenters):
    """All distances by the expanded square: ``[B, B]`` in place of ``[B, B, D]``.

    It cancels where a sample lies on a centre, and training draws each to its own: those distances
    are taken by the difference.
    """

    def __init__(self, num_classes: int, embedding_dim: int, momentum: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.momentum = momentum

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, having moved the centres."""
        centers = self.centers.index_select(0, labels)
        lengths = embeddings.square().sum(1, keepdim=True) + centers.square().sum(1)
        squared = torch.addmm(lengths, embeddings, centers.t(), alpha=-2)
        own = (embeddings - centers).square().sum(1, keepdim=True)
        squared = torch.where(labels.unsqueeze(1) == labels, own, squared)
        # Rounding may leave a square below 0, where the root of the document's sum cannot be.
        distances = (squared.clamp(min=0) + 1e-8).sqrt()
        self._move_centers(embeddings.detach(), labels)
        return LossOnly(distances.sum() / (2 * len(labels)))

    @torch.no_grad()
    def _move_centers(self, embeddings: Tensor, labels: Tensor) -> None:
        ones = torch.ones_like(labels, dtype=embeddings.dtype)
        counts = ones.new_zeros(len(self.centers)).index_add(0, labels, ones)
        share = (1 - self.momentum) / counts.index_select(0, labels)
        self.centers.mul_(self.momentum).index_add_(0, labels, embeddings * share.unsqueeze(1))


@register("center_mse", "vectorized", compiles=True)
class CenterMse(ClassCenters):
    """One gather and one mean; the document's form is batched already."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        return LossOnly(F.mse_loss(embeddings, self.centers.index_select(0, labels)))


@register("island", "vectorized", compiles=True)
class Island(ClassCenters):
    """The cosines of all pairs of centres from the length of the sum of unit centres.

    ``Σ_{j<k} (cos(c_j, c_k) + 1) = (‖Σ_j ĉ_j‖² - C) / 2 + C (C - 1) / 2``
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, island_weight: float, batch_size: int
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.island_weight = island_weight
        self.batch_size = batch_size

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        diff = embeddings - self.centers.index_select(0, labels)
        unit = self.centers / torch.linalg.vector_norm(self.centers, dim=1, keepdim=True)
        count = len(self.centers)
        pairs = (unit.sum(0).square().sum() - count) / 2 + count * (count - 1) / 2
        center_loss = diff.square().sum() / (2 * self.batch_size)
        return LossOnly(center_loss + self.island_weight * pairs)
