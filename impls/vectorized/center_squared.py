"""The centre losses of the paper: one gather, and the centres moved by one scatter."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impls.catalogue import LossAndLogits, LossOnly
from impls.registry import register


class MovingCenters(nn.Module):
    """Class centres that follow their gradient or, with a rate, move by themselves."""

    def __init__(self, num_classes: int, embedding_dim: int, center_rate: float) -> None:
        super().__init__()
        self.center_rate = center_rate
        self.centers = nn.Parameter(
            torch.empty(num_classes, embedding_dim), requires_grad=center_rate == 0
        )

    def _center_loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return half the squared distances, having moved the centres."""
        moves = self.center_rate > 0
        centers = self.centers.detach() if moves else self.centers
        diff = embeddings - centers.index_select(0, labels)
        if moves and self.training:
            self._move_centers(diff.detach(), labels)
        return diff.square().sum() / 2

    @torch.no_grad()
    def _move_centers(self, diff: Tensor, labels: Tensor) -> None:
        if torch.compiler.is_compiling():
            # torch 2.13 gathers again in the compiled backward pass (pytorch #197039).
            raise NotImplementedError(
                "center_rate cannot be compiled: the gradient would see the moved centres"
            )
        # Counted in integers: a half precision counts no further than 256.
        ones = torch.ones_like(labels)
        counts = ones.new_ones(len(self.centers)).index_add_(0, labels, ones)
        share = self.center_rate / counts.index_select(0, labels).to(diff.dtype)
        self.centers.index_add_(0, labels, (diff * share.unsqueeze(1)).to(self.centers.dtype))


@register("center", "vectorized", compiles=True)
class Center(MovingCenters):
    """One gather and one sum."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, having moved the centres where they have a rate."""
        return LossOnly(self._center_loss(embeddings, labels.long()))


@register("softmax_center", "vectorized", compiles=True)
class SoftmaxCenter(MovingCenters):
    """The two sums side by side."""

    def __init__(
        self, num_classes: int, embedding_dim: int, center_weight: float, center_rate: float
    ) -> None:
        super().__init__(num_classes, embedding_dim, center_rate)
        self.center_weight = center_weight
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``, having moved the centres."""
        labels = labels.long()
        logits = embeddings @ self.weight
        loss = F.cross_entropy(logits, labels, reduction="sum")
        center_loss = self._center_loss(embeddings, labels)
        return LossAndLogits(loss + self.center_weight * center_loss, logits)
