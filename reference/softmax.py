"""Softmax, modified softmax and NormFace of document 001, which differ in their normalisation.

All three have their class weights as columns, ``weight [D, C]``, and no bias. Their ``options`` are
those of ``F.cross_entropy``; the defaults ignore, smooth and weight nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.reference.options import EntropyOptions
from lossbench.reference.outputs import LossAndLogits


def unit_columns_(weight: Tensor) -> Tensor:
    """Scale the columns of ``weight [D, C]`` to length 1, in place, as the document does.

    ``renorm_`` can only shorten. So the document shortens every column to 1e-5 and multiplies it by
    1e5; a column that was shorter than 1e-5 stays shorter than 1.
    """
    return weight.data.renorm_(2, 1, 1e-5).mul_(1e5)


class Softmax(nn.Module):
    """Cross-entropy over a linear layer (document 001, ``Linear``).

    ``loss = -mean_i log softmax(x_i W)[y_i]``

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
    """

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.options = EntropyOptions()
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]`` of ``embeddings [B, D]``, ``labels [B]``."""
        logits = self.logits(embeddings)
        return LossAndLogits(self.options.cross_entropy(logits, labels.long()), logits)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return ``x_i w_j``, ``[B, C]``, of ``embeddings [B, D]``."""
        return embeddings.mm(self.weight)


class ModifiedSoftmax(nn.Module):
    """Softmax with class weights of length 1 (document 001, ``Modified``; arXiv 1704.08063).

    ``loss = -mean_i log softmax(x_i Ŵ)[y_i]``, ``ŵ_j = w_j / (‖w_j‖ + 1e-7)`` for ``‖w_j‖ > 1e-5``.
    A shorter column becomes ``1e5 w_j``, since ``renorm`` can only shorten. The document prints the
    logits only; the cross-entropy over them is added here.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
    """

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.options = EntropyOptions()
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))
        unit_columns_(self.weight.data.uniform_(-1, 1))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]`` of ``embeddings [B, D]``, ``labels [B]``."""
        logits = self.logits(embeddings)
        return LossAndLogits(self.options.cross_entropy(logits, labels.long()), logits)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return ``x_i ŵ_j``, ``[B, C]``, of ``embeddings [B, D]``."""
        return embeddings.mm(self.weight.renorm(2, 1, 1e-5).mul(1e5))


class NormFace(nn.Module):
    """Softmax over scaled cosines (document 001, ``NormFace``; arXiv 1704.06369).

    ``loss = -mean_i log softmax(s · cos(x_i, w_j))[y_i]``

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        scale: scale s; 16 in the document.
    """

    def __init__(self, num_classes: int, embedding_dim: int, scale: float = 16) -> None:
        super().__init__()
        self.options = EntropyOptions()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))
        unit_columns_(self.weight.data.uniform_(-1, 1))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of ``embeddings [B, D]``, ``labels [B]``, and the cosines, unscaled."""
        cosine = F.normalize(embeddings).mm(F.normalize(self.weight, dim=0))
        loss = self.options.cross_entropy(self.scale * cosine, labels.long())
        return LossAndLogits(loss, cosine)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return ``s cos(x_i, w_j)``, ``[B, C]``: what the loss takes the softmax of."""
        return self.scale * F.normalize(embeddings).mm(F.normalize(self.weight, dim=0))
