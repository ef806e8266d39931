"""Softmax, modified softmax and NormFace: divide by the lengths, then one matrix product."""

import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.registry import register
from lossbench.impls.state import ClassWeights, CosineWeights, MaxNormWeights


@register("softmax", "vectorized", compiles=True, takes_options=True, refuses_labels=True)
class Softmax(ClassWeights):
    """Cross-entropy over ``embeddings @ weight``; the document's form is batched already."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``."""
        logits = self.logits(embeddings)
        return LossAndLogits(self.options.cross_entropy(logits, labels.long()), logits)


@register("modified_softmax", "vectorized", compiles=True, takes_options=True, refuses_labels=True)
class ModifiedSoftmax(MaxNormWeights):
    """One division in place of the document's max-norm and product."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``."""
        logits = self.logits(embeddings)
        return LossAndLogits(self.options.cross_entropy(logits, labels.long()), logits)


@register("normface", "vectorized", compiles=True, takes_options=True, refuses_labels=True)
class NormFace(CosineWeights):
    """Normalise rows and columns, then one product."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and the unscaled cosines, ``[B, C]``."""
        cosine = F.normalize(embeddings) @ F.normalize(self.weight, dim=0)
        return LossAndLogits(self.options.cross_entropy(self.scale * cosine, labels.long()), cosine)
