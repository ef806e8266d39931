"""Softmax and a centre loss side by side: the tiled cross-entropy, and one gather of centres."""

import torch
from torch import Tensor, nn

from impls.catalogue import LossAndLogits
from impls.fused.head import Head
from impls.fused.logsumexp import fused_cross_entropy
from impls.fused.precision import widened
from impls.registry import register
from impls.state import ClassWeights


@register("softmax_center_unsquared", "fused")
class SoftmaxCenterUnsquared(ClassWeights):
    """One norm over the batch's differences from its centres."""

    head = Head()

    def __init__(self, num_classes: int, embedding_dim: int, center_weight: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.center_weight = center_weight
        self.centers = nn.Parameter(torch.empty(num_classes, embedding_dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss; its logits are never formed."""
        loss = fused_cross_entropy(embeddings, self.weight, labels, self.head)
        diff = embeddings - self.centers.index_select(0, labels)
        distance = torch.linalg.vector_norm(diff, dtype=widened(diff.dtype))
        total = loss + self.center_weight / (2 * len(labels)) * distance
        return LossAndLogits(total.to(loss.dtype), None)


@register("softmax_center", "fused")
class SoftmaxCenter(ClassWeights):
    """The two sums; centres with a rate of their own move by one scatter."""

    head = Head(mean=False)

    def __init__(
        self, num_classes: int, embedding_dim: int, center_weight: float, center_rate: float
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.center_weight = center_weight
        self.center_rate = center_rate
        self.centers = nn.Parameter(
            torch.empty(num_classes, embedding_dim), requires_grad=center_rate == 0
        )

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, having moved the centres; its logits are never formed."""
        loss = fused_cross_entropy(embeddings, self.weight, labels, self.head)
        moves = self.center_rate > 0
        centers = self.centers.detach() if moves else self.centers
        diff = (embeddings - centers.index_select(0, labels)).to(widened(embeddings.dtype))
        if moves and self.training:
            self._move_centers(diff.detach(), labels)
        total = loss + self.center_weight * (diff.square().sum() / 2)
        return LossAndLogits(total.to(loss.dtype), None)

    @torch.no_grad()
    def _move_centers(self, diff: Tensor, labels: Tensor) -> None:
        if torch.compiler.is_compiling():
            # torch 2.13 gathers again in the compiled backward pass (pytorch #197039).
            raise NotImplementedError(
                "center_rate cannot be compiled: the gradient would see the moved centres"
            )
        ones = torch.ones_like(labels)
        counts = ones.new_ones(len(self.centers)).index_add_(0, labels, ones)
        share = self.center_rate / counts.index_select(0, labels).to(diff.dtype)
        self.centers.index_add_(0, labels, (diff * share.unsqueeze(1)).to(self.centers.dtype))
