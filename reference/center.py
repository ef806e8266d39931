"""Losses of documents 000, 001 and 002, which pull each sample towards the centre of its class.

All have their class centres as rows, ``centers [C, D]``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.reference.options import EntropyOptions
from lossbench.reference.outputs import LossAndLogits, LossOnly


class SoftmaxCenterUnsquared(nn.Module):
    """Softmax plus one distance, not squared, to the centres (document 001, ``centerloss``).

    ``loss = CE(xW, y) + λ / (2B) · √(Σ_i ‖x_i - c_{y_i}‖²)``. Wen et al. 2016 square each sample's
    distance; here one root is taken over the whole batch.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        center_weight: weight λ of the centre term; 0.2 in the document.
    """

    def __init__(self, num_classes: int, embedding_dim: int, center_weight: float = 0.2) -> None:
        super().__init__()
        self.center_weight = center_weight
        self.options = EntropyOptions()
        self.centers = nn.Parameter(10 * torch.randn(num_classes, embedding_dim))
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]`` of ``embeddings [B, D]``, ``labels [B]``."""
        labels = labels.long()
        distance = embeddings.dist(self.centers.index_select(0, labels))
        center_loss = (1 / 2.0 / labels.size(0)) * distance
        logits = self.logits(embeddings)
        softmax_loss = self.options.cross_entropy(logits, labels)
        return LossAndLogits(softmax_loss + self.center_weight * center_loss, logits)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return ``x_i w_j``, ``[B, C]``, of ``embeddings [B, D]``."""
        return embeddings.mm(self.weight)


class CenterAllPairs(nn.Module):
    """Distances of all samples to the centres of all labels in the batch (document 002, answer 1).

    ``loss = 1 / (2B) · Σ_i Σ_j √(‖x_i - c_{y_j}‖² + 1e-8)``. After it every centre moves:
    ``c ← μ c + (1 - μ) mean(x_i of the class)``; the mean of an absent class is 0. The centres are
    parameters with a gradient, so the optimizer moves them too.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        momentum: share μ of a centre that is kept at each call; 0.9 in the document.
    """

    def __init__(self, num_classes: int, embedding_dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.centers = nn.Parameter(torch.randn(num_classes, embedding_dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of ``embeddings [B, D]``, ``labels [B]``, then move the centres."""
        labels = labels.long()
        batch = embeddings.size(0)
        centers = self.centers[labels].unsqueeze(0).expand(batch, -1, -1)
        features = embeddings.unsqueeze(1).expand_as(centers)
        distances = torch.sqrt(torch.sum((features - centers) ** 2, dim=2) + 1e-8)
        loss = torch.sum(distances) / 2.0 / batch
        self._move_centers(embeddings.detach().to(self.centers.dtype), labels)
        return LossOnly(loss)

    def _move_centers(self, embeddings: Tensor, labels: Tensor) -> None:
        counts = labels.bincount(minlength=self.centers.size(0)).to(embeddings.dtype).unsqueeze(1)
        present = counts.squeeze(1) > 0
        means = torch.zeros_like(self.centers.data).index_add_(0, labels, embeddings)
        means[present] /= counts[present]
        self.centers.data = self.momentum * self.centers.data + (1 - self.momentum) * means


class CenterMse(nn.Module):
    """Mean squared difference from the class centres (document 002, answer 3).

    ``loss = 1 / (B D) · Σ_i ‖x_i - c_{y_i}‖²``

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
    """

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(num_classes, embedding_dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of ``embeddings [B, D]`` and ``labels [B]``."""
        return LossOnly(F.mse_loss(embeddings, self.centers.index_select(0, labels)))


class Island(nn.Module):
    """Centre loss plus the cosines between all pairs of centres (document 000; arXiv 1710.03144).

    ``loss = 1 / (2N) · Σ_i ‖x_i - c_{y_i}‖² + α Σ_{j<k} (cos(c_j, c_k) + 1)``. N is the batch size
    given to the constructor, even if a batch has another size.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        island_weight: weight α of the cosines, from 0 to 1.
        batch_size: batch size N.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        island_weight: float = 0.01,
        batch_size: int = 64,
    ) -> None:
        super().__init__()
        self.island_weight = island_weight
        self.batch_size = batch_size
        self.centers = nn.Parameter(torch.randn(num_classes, embedding_dim))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss of ``embeddings [B, D]`` and ``labels [B]``."""
        diff = embeddings - self.centers.index_select(0, labels.long())
        center_loss = 1 / 2.0 * diff.pow(2).sum() / self.batch_size

        lengths = torch.sum(self.centers * self.centers, dim=1, keepdim=True).sqrt()
        cosines = self.centers.mm(self.centers.t()) / lengths.mm(lengths.t())
        others = 1 - torch.eye(len(cosines), dtype=cosines.dtype, device=cosines.device)
        island = ((cosines + 1) * others).sum() / 2
        return LossOnly(center_loss + self.island_weight * island)
