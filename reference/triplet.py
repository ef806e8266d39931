"""Triplet losses of document 003 and of the AGW paper, over all pairs of a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.reference.distance import pairwise_distance
from lossbench.reference.outputs import LossAndCorrect


class TripletBatchHard(nn.Module):
    """Triplet loss of each anchor's furthest positive and closest negative (``OriTripletLoss``).

    ``loss = mean_i max(0, m + max_{y_p = y_i} d_ip - min_{y_n ≠ y_i} d_in)``, arXiv 1703.07737,
    Eq. 5, with ``d_ij = √max(‖x_i - x_j‖², 1e-12)``. An anchor is one of its own positives, so the
    only sample of a class is an anchor too.

    Args:
        margin: margin m; 0.3 in the document.
    """

    def __init__(self, margin: float = 0.3) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the correct anchors of ``embeddings [B, D]``, ``labels [B]``.

        Raises:
            RuntimeError: if an anchor has no negative, since the batch has only one class.
        """
        n = embeddings.size(0)
        distances = pairwise_distance(embeddings, embeddings)
        same = labels.expand(n, n).eq(labels.expand(n, n).t())
        furthest, closest = [], []
        for i in range(n):
            furthest.append(distances[i][same[i]].max().unsqueeze(0))
            closest.append(distances[i][same[i] == 0].min().unsqueeze(0))
        dist_ap, dist_an = torch.cat(furthest), torch.cat(closest)
        loss = F.margin_ranking_loss(dist_an, dist_ap, torch.ones_like(dist_an), self.margin)
        return LossAndCorrect(loss, torch.ge(dist_an, dist_ap).sum())


def softmax_weights(distances: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax of each row of ``distances [M, N]``, over the ones of ``mask [M, N]``.

    A masked entry of ``distances · mask`` is 0, not -∞. So the maximum of a row of negative
    distances is 0, and nothing is subtracted before the exponential.
    """
    highest = torch.max(distances * mask, dim=1, keepdim=True)[0]
    diff = distances - highest
    total = torch.sum(torch.exp(diff) * mask, dim=1, keepdim=True) + 1e-6
    return torch.exp(diff) * mask / total


def normalize(x: Tensor, axis: int = -1) -> Tensor:
    """Return ``x / (‖x‖ + 1e-12)`` along ``axis``, in the shape of ``x``."""
    length: Tensor = torch.norm(x, 2, axis, keepdim=True)
    return 1.0 * x / (length.expand_as(x) + 1e-12)


class TripletWeightedUnshifted(nn.Module):
    """Triplet loss of softmax-weighted positives and negatives (003, ``TripletLoss_WRT``).

    ``loss = mean_i log(1 + exp(Σ_p w⁺_ip d_ip - Σ_n w⁻_in d_in))``, where w⁺ is the softmax of
    ``d`` over the positives and w⁻ the softmax of ``-d`` over the negatives (AGW, arXiv
    2001.04193). The gradient flows through the weights. The softmax over negatives subtracts no
    maximum and adds 1e-6 to the sum, so the weights vanish at distances above about 14.

    Args:
        normalize: whether to scale each embedding to length 1 first.
    """

    def __init__(self, normalize: bool = False) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the correct anchors of ``embeddings [B, D]``, ``labels [B]``."""
        if self.normalize:
            embeddings = normalize(embeddings)
        distances = pairwise_distance(embeddings, embeddings)
        n = distances.size(0)
        is_pos = labels.expand(n, n).eq(labels.expand(n, n).t()).to(distances.dtype)
        is_neg = labels.expand(n, n).ne(labels.expand(n, n).t()).to(distances.dtype)
        dist_ap, dist_an = distances * is_pos, distances * is_neg

        furthest = torch.sum(dist_ap * softmax_weights(dist_ap, is_pos), dim=1)
        closest = torch.sum(dist_an * softmax_weights(-dist_an, is_neg), dim=1)
        loss = F.soft_margin_loss(closest - furthest, torch.ones_like(furthest))
        return LossAndCorrect(loss, torch.ge(closest, furthest).sum())


class TripletWeighted(nn.Module):
    """Triplet loss of softmax-weighted positives and negatives (AGW, arXiv 2001.04193).

    ``loss = mean_i log(1 + exp(Σ_p w⁺_ip d_ip - Σ_n w⁻_in d_in))``, where w⁺ is the softmax of
    ``d`` over the positives and w⁻ the softmax of ``-d`` over the negatives, both exact at any
    distance. The gradient flows through the weights. As in document 003, an anchor is one of its
    own positives, and ``d_ij = √max(‖x_i - x_j‖², 1e-12)``.

    Args:
        normalize: whether to scale each embedding to length 1 first.
    """

    def __init__(self, normalize: bool = False) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the correct anchors of ``embeddings [B, D]``, ``labels [B]``.

        If an anchor has no negative, the loss is NaN.
        """
        if self.normalize:
            embeddings = normalize(embeddings)
        distances = pairwise_distance(embeddings, embeddings)
        same = labels.unsqueeze(1) == labels.unsqueeze(0)
        positive_weights = distances.masked_fill(~same, -torch.inf).softmax(dim=1)
        negative_weights = (-distances).masked_fill(same, -torch.inf).softmax(dim=1)
        furthest = (positive_weights * distances).sum(dim=1)
        closest = (negative_weights * distances).sum(dim=1)
        # log(1 + e^x) would overflow; -log sigmoid(-x) does not, and keeps small terms.
        loss = -F.logsigmoid(closest - furthest).mean()
        return LossAndCorrect(loss, torch.ge(closest, furthest).sum())
