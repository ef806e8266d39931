"""Document 001: softmax, modified softmax and NormFace, which differ in what they normalise.

All three keep their class weights as columns, ``weight [D, C]``, and use no bias. Their ``options``
are those of ``F.cross_entropy``, at defaults that leave out, smooth and weigh nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.reference.options import EntropyOptions
from lossbench.reference.outputs import LossAndLogits


def unit_columns_(weight: Tensor) -> Tensor:
    """Scale the columns of ``weight [D, C]`` to length 1, in place, as the document does it.

    ``renorm_`` only shortens, so the document first shortens every column to 1e-5 and then
    stretches it back: a column that was shorter than 1e-5 stays short.
    """
    return weight.data.renorm_(2, 1, 1e-5).mul_(1e5)


class Softmax(nn.Module):
    """Cross-entropy over a linear layer (document 001, ``Linear``).

    ``loss = -mean_i log softmax(x_i W)[y_i]``

    Args:
        num_classes: C.
        embedding_dim: D.
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

    ``loss = -mean_i log softmax(x_i Ŵ)[y_i]``, ``ŵ_j = w_j / (‖w_j‖ + 1e-7)`` for ``‖w_j‖ > 1e-5``
    and ``1e5 w_j`` below: ``renorm`` limits a length, it does not set it. The document prints the
    logits only; the cross-entropy over them is its caller's.

    Args:
        num_classes: C.
        embedding_dim: D.
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
        num_classes: C.
        embedding_dim: D.
        scale: s; 16 in the document.
    """

    def __init__(self, num_classes: int, embedding_dim: int, scale: float = 16) -> None:
        super().__init__()
        self.options = EntropyOptions()
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))
        unit_columns_(self.weight.data.uniform_(-1, 1))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of ``embeddings [B, D]``, ``labels [B]``, and the unscaled cosines."""
        cosine = F.normalize(embeddings).mm(F.normalize(self.weight, dim=0))
        loss = self.options.cross_entropy(self.scale * cosine, labels.long())
        return LossAndLogits(loss, cosine)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return ``s cos(x_i, w_j)``, ``[B, C]``: what the loss takes the softmax of."""
        return self.scale * F.normalize(embeddings).mm(F.normalize(self.weight, dim=0))
