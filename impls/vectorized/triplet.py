"""Triplet losses over the whole ``[B, B]`` distance matrix at once."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.formulas import LEAST_SQUARED_DISTANCE, soft_margin, unit_rows
from lossbench.impls.precision import widened, without_autocast, without_noise
from lossbench.impls.registry import register


@without_autocast
def pairwise_distances(x: Tensor) -> Tensor:
    """Return ``√max(‖x_i - x_j‖², 1e-12)`` of ``x [B, D]``: ``[B, B]``, float32 or wider.

    In float16 1e-12 would be 0, and the root's gradient at 0 is infinite.
    """
    x = x.to(widened(x.dtype))
    squares = x.square().sum(1)
    squared = torch.addmm(squares.unsqueeze(1) + squares, x, x.t(), alpha=-2)
    if torch.compiler.is_compiling():
        squared = without_noise(squared, x, x)
    return squared.clamp(min=LEAST_SQUARED_DISTANCE).sqrt()


@register("triplet_batch_hard", "vectorized", compiles=True)
class TripletBatchHard(nn.Module):
    """Furthest positive and closest negative as masked row extremes."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        distances = pairwise_distances(embeddings)
        same = labels.unsqueeze(1) == labels
        dist_ap = distances.masked_fill(~same, -torch.inf).amax(1)
        dist_an = distances.masked_fill(same, torch.inf).amin(1)
        loss = F.relu(dist_ap - dist_an + self.margin).mean()
        return LossAndCorrect(loss, (dist_an >= dist_ap).sum())


class _WeightedDistances(nn.Module):
    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    def _distances(self, embeddings: Tensor) -> Tensor:
        if self.normalize:
            embeddings = unit_rows(embeddings)
        return pairwise_distances(embeddings)


@register("triplet_weighted_unshifted", "vectorized", compiles=True)
class TripletWeightedUnshifted(_WeightedDistances):
    """Both softmaxes over the full matrix, and the soft margin without overflow."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        distances = self._distances(embeddings)
        same = labels.unsqueeze(1) == labels
        furthest = self._weighted(distances, self._positive_weights(distances, same))
        # The document's maximum over the negatives is that of masked zeros, 0, so nothing shifts.
        closest = self._weighted(distances, torch.exp(-distances).masked_fill(same, 0))
        loss = soft_margin(furthest - closest).mean()
        return LossAndCorrect(loss, (closest >= furthest).sum())

    @staticmethod
    def _positive_weights(distances: Tensor, same: Tensor) -> Tensor:
        positives = distances.masked_fill(~same, 0)
        return torch.exp(positives - positives.amax(1, keepdim=True)).masked_fill(~same, 0)

    @staticmethod
    def _weighted(distances: Tensor, weights: Tensor) -> Tensor:
        return (distances * weights).sum(1) / (weights.sum(1) + 1e-6)


@register("triplet_weighted", "vectorized", compiles=True)
class TripletWeighted(_WeightedDistances):
    """Both softmaxes over the full matrix; every row has a positive and a negative."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        distances = self._distances(embeddings)
        same = labels.unsqueeze(1) == labels
        furthest = (distances.masked_fill(~same, -torch.inf).softmax(1) * distances).sum(1)
        # softmin needs no negated copy of the distances.
        closest = (F.softmin(distances.masked_fill(same, torch.inf), 1) * distances).sum(1)
        loss = -F.logsigmoid(closest - furthest).mean()
        return LossAndCorrect(loss, (closest >= furthest).sum())
