"""The centre losses that take each sample to its own centre: a gather, and autograd's scatter.

A gather, a difference and a sum have no intermediate that a backward pass of ours would save.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impls.catalogue import LossOnly
from impls.fused.precision import widened
from impls.registry import register
from impls.state import ClassCenters


class _CenterMse(ClassCenters):
    sparse = False

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        return LossOnly(_to_centers(embeddings, self.centers, labels, "mean", self.sparse))


@register("center_mse", "fused", compiles=True)
class CenterMse(_CenterMse):
    """The gradient to the centres is one scatter into zeros, ``[C, D]``."""


@register("center_mse", "sparse")
class CenterMseSparse(_CenterMse):
    """The gradient to the centres is sparse, of the classes present, for SGD and SparseAdam."""

    sparse = True


class _Center(nn.Module):
    sparse = False

    def __init__(self, num_classes: int, embedding_dim: int, center_rate: float) -> None:
        super().__init__()
        self.center_rate = center_rate
        self.centers = nn.Parameter(
            torch.empty(num_classes, embedding_dim), requires_grad=center_rate == 0
        )

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, having moved the centres where they have a rate."""
        moves = self.center_rate > 0
        centers = self.centers.detach() if moves else self.centers
        loss = _to_centers(embeddings, centers, labels, "sum", self.sparse) / 2
        if moves and self.training:
            self._move_centers(embeddings, labels)
        return LossOnly(loss)

    @torch.no_grad()
    def _move_centers(self, embeddings: Tensor, labels: Tensor) -> None:
        if torch.compiler.is_compiling():
            # torch 2.13 gathers again in the compiled backward pass (pytorch #197039).
            raise NotImplementedError(
                "center_rate cannot be compiled: the gradient would see the moved centres"
            )
        # Counted in integers: a half precision counts no further than 256.
        ones = torch.ones_like(labels)
        counts = ones.new_ones(len(self.centers)).index_add_(0, labels, ones)
        diff = _wide(embeddings) - _wide(self.centers.index_select(0, labels))
        diff *= self.center_rate / counts.index_select(0, labels).to(diff.dtype).unsqueeze(1)
        self.centers.index_add_(0, labels, diff.to(self.centers.dtype))


@register("center", "fused", compiles=True)
class Center(_Center):
    """The gradient to the centres is one scatter into zeros, ``[C, D]``."""


@register("center", "sparse")
class CenterSparse(_Center):
    """The gradient to the centres is sparse, of the classes present, for SGD and SparseAdam."""

    sparse = True


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(widened(tensor.dtype))


def _to_centers(x: Tensor, centers: Tensor, labels: Tensor, reduction: str, sparse: bool) -> Tensor:
    """Return the mean or the sum of the squared differences from the class centres."""
    chosen = (
        F.embedding(labels, centers, sparse=True) if sparse else centers.index_select(0, labels)
    )
    loss = F.mse_loss(_wide(x), _wide(chosen), reduction=reduction)
    return loss.to(torch.promote_types(x.dtype, centers.dtype))
