"""PyTorch's own losses and distances, combined as a user would combine them."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.impls.catalogue import Distances, LossAndCorrect, LossAndLogits, LossOnly
from lossbench.impls.labels import without_gaps
from lossbench.impls.registry import register
from lossbench.impls.state import ClassCenters, ClassWeights

# torch.cdist has no kernel for half precision.
FULL_PRECISION = (torch.float32, torch.float64)


class LinearCrossEntropy(ClassWeights):
    """``torch.nn.functional.linear_cross_entropy``, which torch has from 2.13 on."""

    def __init__(self, num_classes: int, embedding_dim: int, chunks: Any = None) -> None:
        super().__init__(num_classes, embedding_dim)
        self.chunks = chunks

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss; torch does not return the logits."""
        # Under autocast the embeddings are float32, whatever the weight is.
        weight = self.weight.t().to(embeddings.dtype)
        loss = F.linear_cross_entropy(embeddings, weight, labels.long(), options=self.chunks)
        return LossAndLogits(loss, None)


@register("softmax", "torch", compiles=True, since=(2, 13), leaves_out=("logits",))
def softmax(num_classes: int, embedding_dim: int) -> nn.Module:
    """The product, then the cross-entropy: the default of torch's function."""
    return LinearCrossEntropy(num_classes, embedding_dim)


@register("softmax", "torch_chunked", since=(2, 13), leaves_out=("logits",))
def softmax_chunked(num_classes: int, embedding_dim: int) -> nn.Module:
    """Chunks of the batch; the forward pass makes their gradients, so backward runs only once.

    A chunk has 256 samples, because torch's own choice is many times slower on the CPU.
    """
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=256)
    return LinearCrossEntropy(num_classes, embedding_dim, options)


@register("center_mse", "torch", compiles=True)
class CenterMse(ClassCenters):
    """``nn.MSELoss`` against an embedding table."""

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__(num_classes, embedding_dim)
        self.criterion = nn.MSELoss()

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        return LossOnly(self.criterion(embeddings, F.embedding(labels, self.centers)))


@register(
    "triplet_batch_hard",
    "torch",
    dtypes=FULL_PRECISION,
    compiles=True,
    limits={"arguments": "nn.TripletMarginLoss takes a margin above 0 alone"},
)
class TripletBatchHard(nn.Module):
    """``nn.TripletMarginLoss`` on triplets mined by ``torch.cdist`` without a gradient.

    It adds 1e-6 to differences by default, which is turned off here, and refuses a margin of 0 or
    less.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        if margin <= 0:
            raise ValueError(f"triplet_batch_hard: torch takes a margin above 0, got {margin}")
        self.criterion = nn.TripletMarginLoss(margin=margin, eps=0)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        with torch.no_grad():
            distances = torch.cdist(embeddings, embeddings)
            labels = without_gaps(labels)
            same = labels.unsqueeze(1) == labels
            dist_ap, furthest = distances.masked_fill(~same, -torch.inf).max(1)
            dist_an, closest = distances.masked_fill(same, torch.inf).min(1)
        loss = self.criterion(embeddings, embeddings[furthest], embeddings[closest])
        return LossAndCorrect(loss, (dist_an >= dist_ap).sum())


@register("contrastive", "torch", compiles=True)
class Contrastive(nn.Module):
    """``F.pairwise_distance``, without the 1e-6 that it adds to differences by default."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        same = same.to(x0.dtype)
        distance = F.pairwise_distance(x0, x1, eps=0)
        hinge = F.relu(self.margin - distance)
        return LossOnly((same * distance.square() + (1 - same) * hinge.square()).mean() / 2)


@register("pairwise_distance", "torch", dtypes=FULL_PRECISION, compiles=True)
class PairwiseDistance(nn.Module):
    """``torch.cdist``: 0 between equal rows, with gradient 0; the document has 1e-6 there."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return ``distances [M, N]``."""
        return Distances(torch.cdist(a, b))


@register("vector_distance", "torch", compiles=True)
class VectorDistance(nn.Module):
    """``torch.dist``: gradient 0 at 0, and on the CPU one running sum, which rounds as it grows."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return the one distance, 0-d."""
        return Distances(torch.dist(a, b))
