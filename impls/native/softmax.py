"""Softmax, modified softmax and NormFace by native operators."""

from lossbench.impls.native.cross_entropy import NATIVE_ENTROPY, EntropyHead, NativeHead
from lossbench.impls.registry import register
from lossbench.impls.state import CosineWeights, MaxNormWeights


@register("softmax", "native", refuses_labels=True, **NATIVE_ENTROPY)
class Softmax(EntropyHead):
    """The products are the logits."""


@register("modified_softmax", "native", refuses_labels=True, **NATIVE_ENTROPY)
class ModifiedSoftmax(EntropyHead, MaxNormWeights):
    """The columns are scaled by a max-norm."""

    head = NativeHead(columns=2).numbers()


@register("normface", "native", refuses_labels=True, **NATIVE_ENTROPY)
class NormFace(EntropyHead, CosineWeights):
    """Rows and columns are scaled."""

    def __init__(self, num_classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__(num_classes, embedding_dim, scale)
        self.head = NativeHead(columns=1, rows=1, scale=scale).numbers()
