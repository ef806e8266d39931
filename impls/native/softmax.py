"""Softmax, modified softmax and NormFace by native operators."""

from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.native.build import problem
from lossbench.impls.native.cross_entropy import NativeHead, native_cross_entropy
from lossbench.impls.native.operators import Native
from lossbench.impls.registry import register
from lossbench.impls.state import ClassWeights, CosineWeights, MaxNormWeights


class _Native(Native, ClassWeights):
    head = NativeHead().numbers()

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and no logits."""
        loss = native_cross_entropy(embeddings, self.weight, labels, self.head, self.options)
        return LossAndLogits(loss, None)


@register(
    "softmax",
    "native",
    devices=("cpu",),
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    takes_options=True,
    problem=problem,
    refuses_labels=True,
)
class Softmax(_Native):
    """The products are the logits."""


@register(
    "modified_softmax",
    "native",
    devices=("cpu",),
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    takes_options=True,
    problem=problem,
    refuses_labels=True,
)
class ModifiedSoftmax(_Native, MaxNormWeights):
    """The columns are scaled by a max-norm."""

    head = NativeHead(columns=2).numbers()


@register(
    "normface",
    "native",
    devices=("cpu",),
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    takes_options=True,
    problem=problem,
    refuses_labels=True,
)
class NormFace(_Native, CosineWeights):
    """Rows and columns are scaled."""

    def __init__(self, num_classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__(num_classes, embedding_dim, scale)
        self.head = NativeHead(columns=1, rows=1, scale=scale).numbers()
