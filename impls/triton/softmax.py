"""Softmax, modified softmax and NormFace by Triton kernels."""

from lossbench.impls.registry import register
from lossbench.impls.state import CosineWeights, MaxNormWeights
from lossbench.impls.triton.entropy import TRITON_ENTROPY, EntropyOnTriton, ScoreRule


@register("softmax", "triton", refuses_labels=True, **TRITON_ENTROPY)
class Softmax(EntropyOnTriton):
    """The products are the logits."""


@register("modified_softmax", "triton", refuses_labels=True, **TRITON_ENTROPY)
class ModifiedSoftmax(EntropyOnTriton, MaxNormWeights):
    """The columns are scaled by a max-norm."""

    rule = ScoreRule(columns="max_norm")


@register("normface", "triton", refuses_labels=True, **TRITON_ENTROPY)
class NormFace(EntropyOnTriton, CosineWeights):
    """Rows and columns are scaled."""

    def __init__(self, num_classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__(num_classes, embedding_dim, scale)
        self.rule = ScoreRule(columns="unit", rows="unit", scale=scale)
