"""Softmax, modified softmax and NormFace: divide by the lengths, then one matrix product."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.labels import cross_entropy
from lossbench.impls.registry import register
from lossbench.impls.state import ClassWeights


@register("softmax", "vectorized", compiles=True)
class Softmax(ClassWeights):
    """Cross-entropy over ``embeddings @ weight``; the document's form is batched already."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``."""
        logits = embeddings @ self.weight
        return LossAndLogits(cross_entropy(logits, labels.long()), logits)


@register("modified_softmax", "vectorized", compiles=True)
class ModifiedSoftmax(ClassWeights):
    """One division for what the document does by a max-norm and a product."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``."""
        length = torch.linalg.vector_norm(self.weight, dim=0)
        # renorm's max-norm: columns of 1e-5 or less are stretched by 1e5, not normalised.
        divisor = F.threshold(length + 1e-7, 1e-5 + 1e-7, 1e-5)
        logits = embeddings @ (self.weight / divisor)
        return LossAndLogits(cross_entropy(logits, labels.long()), logits)


@register("normface", "vectorized", compiles=True)
class NormFace(ClassWeights):
    """Normalise rows and columns, then one product."""

    def __init__(self, num_classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.scale = scale

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and the unscaled cosines, ``[B, C]``."""
        cosine = F.normalize(embeddings) @ F.normalize(self.weight, dim=0)
        return LossAndLogits(cross_entropy(self.scale * cosine, labels.long()), cosine)
