"""The weighted triplet losses over all pairs at once: few passes in compiled code."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.formulas import CLAMPED_DISTANCE, LEAST_SQUARED_DISTANCE, soft_margin
from lossbench.impls.fused.pairs.precomputed import Evaluated
from lossbench.impls.fused.pairs.weighting import FAR, mask_positives
from lossbench.impls.precision import without_noise
from lossbench.impls.products import product


def dense_triplet(
    x: Tensor, labels: Tensor, *, epsilon: float, shifted: bool, wants_gradient: bool
) -> Evaluated:
    """Return the result of ``weighted_triplet`` for ``x [B, D]`` and ``labels [B]``.

    With ``G`` the loss's derivatives by the distances, divided by the distances, and
    ``H = G + Gᵀ``, the gradient is ``(diag(H 1) - H) X``.
    """
    distances = _distances(x)
    same = labels.unsqueeze(1) == labels
    near = mask_positives(distances, same)
    highest = near.amax(1, keepdim=True)
    positive = torch.exp(near - highest)
    far = distances.masked_fill(same, FAR)
    negative = torch.exp((far.amin(1, keepdim=True) if shifted else 0) - far)
    # If all are FAR there is no negative, so no weight, and if shifted no loss.
    negative = negative.masked_fill(same, 0)
    positive_sum = positive.sum(1, keepdim=True) + epsilon
    negative_sum = negative.sum(1, keepdim=True) + epsilon
    furthest = (positive * distances).sum(1, keepdim=True) / positive_sum
    closest = (negative * distances).sum(1, keepdim=True) / negative_sum
    loss = soft_margin(furthest - closest).mean()
    gradient = None
    if wants_gradient:
        slope = torch.sigmoid(furthest - closest) / x.size(0)
        is_highest = near == highest
        # The shift by the maximum scales epsilon, so the maximum has a gradient of its own.
        share = epsilon * furthest / is_highest.sum(1, keepdim=True)
        pull = positive * (1 + distances - furthest) - torch.where(is_highest, share, 0)
        push = negative * (1 + closest - distances)
        of_pairs = torch.where(same, pull / positive_sum, -push / negative_sum) * slope
        of_pairs = of_pairs / F.threshold(distances, CLAMPED_DISTANCE, torch.inf)
        both = of_pairs + of_pairs.t()
        gradient = x * both.sum(1, keepdim=True) - product(both, x)
    return Evaluated(loss, (closest >= furthest).count_nonzero(), gradient)


def _distances(x: Tensor) -> Tensor:
    squares = torch.linalg.vecdot(x, x)
    squared = squares.unsqueeze(1) + squares - 2 * product(x, x.t())
    return without_noise(squared, x, x).clamp(min=LEAST_SQUARED_DISTANCE).sqrt()
