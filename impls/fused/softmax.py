"""Softmax, modified softmax and NormFace: one cross-entropy, with different Heads."""

from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.fused.cross_entropy.head import Head, max_norm_columns, unit_columns
from lossbench.impls.fused.cross_entropy.logsumexp import fused_cross_entropy
from lossbench.impls.registry import register
from lossbench.impls.state import ClassWeights, CosineWeights, MaxNormWeights


class _Fused(ClassWeights):
    head: Head

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and no logits."""
        loss = fused_cross_entropy(embeddings, self.weight, labels, self.head, self.options)
        return LossAndLogits(loss, None)


@register(
    "softmax",
    "fused",
    compiles=True,
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    takes_options=True,
    refuses_labels=True,
)
class Softmax(_Fused):
    """The products are the logits."""

    head = Head()


@register(
    "modified_softmax",
    "fused",
    compiles=True,
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    takes_options=True,
    refuses_labels=True,
)
class ModifiedSoftmax(_Fused, MaxNormWeights):
    """The columns are scaled, tile by tile."""

    head = Head(columns=max_norm_columns)


@register(
    "normface",
    "fused",
    compiles=True,
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    takes_options=True,
    refuses_labels=True,
)
class NormFace(_Fused, CosineWeights):
    """Rows and columns are scaled, the rows once."""

    def __init__(self, num_classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__(num_classes, embedding_dim, scale)
        self.head = Head(columns=unit_columns, scale=scale)
