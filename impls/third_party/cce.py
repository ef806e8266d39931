"""Cut cross-entropy: a linear layer and its cross-entropy in Triton, without the logits."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.registry import register
from lossbench.impls.state import ClassWeights

# Its backward takes embeddings of no other dtype.
HALVES = (torch.bfloat16, torch.float16)


class CutCrossEntropy(ClassWeights):
    """The classifier is the transposed weight, a view; tiles are computed again in the backward.

    Attributes:
        criterion: function of embeddings ``[B, D]``, classifier ``[C, D]``, labels and
            ``filter_eps``.
        filter_eps: probability below which gradients are left out; ``None`` for none.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        criterion: Callable[..., Tensor],
        filter_eps: str | None,
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.criterion, self.filter_eps = criterion, filter_eps

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss; the logits are never formed at once."""
        classifier, eps = self.weight.t(), self.filter_eps
        loss = self.criterion(embeddings, classifier, labels.long(), filter_eps=eps)
        return LossAndLogits(loss, None)


def _build(num_classes: int, embedding_dim: int, filter_eps: str | None) -> nn.Module:
    from cut_cross_entropy import linear_cross_entropy

    return CutCrossEntropy(num_classes, embedding_dim, linear_cross_entropy, filter_eps)


@register(
    "softmax",
    "cce",
    requires=("cut_cross_entropy", "triton"),
    devices=("cuda",),
    dtypes=HALVES,
    leaves_out=("logits",),
)
def softmax(num_classes: int, embedding_dim: int) -> nn.Module:
    """``linear_cross_entropy`` with ``filter_eps=None``, which keeps every gradient."""
    return _build(num_classes, embedding_dim, None)


@register(
    "softmax",
    "cce_filtered",
    requires=("cut_cross_entropy", "triton"),
    devices=("cuda",),
    dtypes=HALVES,
    leaves_out=("logits",),
    departs="leaves out the gradients of probabilities below a 32nd of the dtype's epsilon",
)
def softmax_filtered(num_classes: int, embedding_dim: int) -> nn.Module:
    """``linear_cross_entropy`` as it is by default."""
    return _build(num_classes, embedding_dim, "high")
