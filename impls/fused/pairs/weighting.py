"""The weighted triplet losses by blocks of rows: softmax weights and gradient in one pass."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.formulas import CLAMPED_DISTANCE, LEAST_SQUARED_DISTANCE, soft_margin
from lossbench.impls.fused.pairs.precomputed import Evaluated
from lossbench.impls.fused.pairs.row_blocks import RowBlock, block_rows, row_blocks
from lossbench.impls.products import add_product, product

# Replaces the distance of a pair that is not negative: its weight is 0, and so is their product.
FAR = 1e30


def mask_positives(distances: Tensor, same: Tensor) -> Tensor:
    """Return the distances of positives; for all others ``-FAR``, which has weight 0."""
    return torch.where(same, distances, -FAR)


def weigh_positives(near: Tensor, epsilon: float) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Return the weights and, if epsilon is not 0, each maximum's index and epsilon's share."""
    weights = near.softmax(1)
    if not epsilon:
        return weights, None
    highest, index = weights.max(1, keepdim=True)
    # The largest weight is one over the sum of the shifted exponentials.
    share = highest.mul_(epsilon)
    share /= share + 1
    return weights.mul_(1 - share), (index, share)


def weighted_triplet(
    x: Tensor, labels: Tensor, *, epsilon: float, shifted: bool, wants_gradient: bool
) -> Evaluated:
    """Return the soft-margin triplet loss over softmax-weighted distances.

    Args:
        x: the embeddings ``[B, D]``, detached, float32 or wider.
        labels: the labels ``[B]``.
        epsilon: the number added to the sums of the weights.
        shifted: whether to subtract the closest negative's distance before the exponential.
        wants_gradient: whether to compute the gradient too.
    """
    order = None
    if block_rows(len(x)) < len(x):
        labels, order = labels.sort()
        x = x.index_select(0, order)
    rows = _Rows(x, labels, epsilon, shifted)
    for block in row_blocks(labels):
        rows.visit(block, wants_gradient)
    furthest, closest = rows.means
    loss = soft_margin(furthest - closest).mean()
    gradient = rows.gradient() if wants_gradient else None
    if gradient is not None and order is not None:
        gradient = torch.empty_like(gradient).index_copy_(0, order, gradient)
    return Evaluated(loss, (closest >= furthest).count_nonzero(), gradient)


class _Rows:
    """Three buffers for a block's distances, and the sums over all blocks.

    With ``w`` the weights, ``f`` the furthest and ``c`` the closest, the derivatives by a distance
    are ``w⁺ (1 + d - f)`` and ``w⁻ (1 - d + c)``. Times the derivative of the loss and ``1 / d``
    they are ``G``, and the gradient is ``(diag(H 1) - H) X`` with ``H = G + Gᵀ``.
    """

    def __init__(self, x: Tensor, labels: Tensor, epsilon: float, shifted: bool) -> None:
        self.x = x
        self.labels = labels
        self.epsilon = epsilon
        self.shifted = shifted
        self.squares = torch.linalg.vecdot(x, x)
        self.means = x.new_empty(2, len(x))
        self.buffers = x.new_empty(3, block_rows(len(x)), len(x))
        self.pulls = torch.zeros_like(x)
        self.totals = torch.zeros_like(self.squares)

    def visit(self, block: RowBlock, wants_gradient: bool) -> None:
        """Compute the means of a block's rows, and add their part of the gradient."""
        start, stop, low, high = block
        distances, weights, spare = self.buffers[:, : stop - start]
        self._measure(block, distances)
        same = self.labels[start:stop].unsqueeze(1) == self.labels[low:high]
        near = mask_positives(distances[:, low:high], same)
        distances[:, low:high].masked_fill_(same, FAR)

        near_weights, excess = weigh_positives(near, self.epsilon)
        furthest = torch.mul(near, near_weights).sum(1)
        self._weigh_negatives(distances, weights)
        closest = torch.mul(distances, weights, out=spare).sum(1)
        self.means[0, start:stop], self.means[1, start:stop] = furthest, closest
        if not wants_gradient:
            return

        slope = torch.sigmoid(furthest - closest).div_(len(self.x)).unsqueeze(1)
        torch.threshold(distances, CLAMPED_DISTANCE, torch.inf, out=spare)
        distances.sub_((closest + 1).unsqueeze(1)).mul_(slope)
        weights.div_(spare).mul_(distances)
        pull = torch.sub(near, (furthest - 1).unsqueeze(1)).mul_(near_weights)
        if excess is not None:
            # The shift by the maximum scales epsilon, so the maximum has a gradient of its own.
            index, share = excess
            pull.scatter_add_(1, index, share.mul_(furthest.unsqueeze(1)).neg_())
        pull.mul_(slope).div_(F.threshold(near, CLAMPED_DISTANCE, torch.inf))
        weights[:, low:high].add_(pull)
        self._gather(block, weights)

    def _measure(self, block: RowBlock, distances: Tensor) -> None:
        rows = slice(block.start, block.stop)
        squared = product(-2 * self.x[rows], self.x.t(), self.squares)
        torch.add(squared, self.squares[rows].unsqueeze(1), out=distances)
        distances.clamp_(min=LEAST_SQUARED_DISTANCE).sqrt_()
        # The distance of a row to itself is only rounding error.
        distances.diagonal(block.start).fill_(LEAST_SQUARED_DISTANCE**0.5)

    def _weigh_negatives(self, distances: Tensor, weights: Tensor) -> None:
        if self.shifted:
            torch.softmax(torch.neg(distances, out=weights), 1, out=weights)
            # If all are FAR there is no negative, and no loss.
            weights.masked_fill_(distances.amin(1, keepdim=True) >= FAR, torch.nan)
        else:
            torch.neg(distances, out=weights).exp_()
            weights.div_(weights.sum(1, keepdim=True).add_(self.epsilon))

    def _gather(self, block: RowBlock, pull: Tensor) -> None:
        rows = slice(block.start, block.stop)
        self.totals[rows].add_(pull.sum(1))
        self.totals += pull.sum(0)
        add_product(self.pulls[rows], pull, self.x)
        add_product(self.pulls, pull.t(), self.x[rows])

    def gradient(self) -> Tensor:
        """Return the gradient ``[B, D]``, after all blocks were visited."""
        return torch.addcmul(self.pulls.neg_(), self.x, self.totals.unsqueeze(1), out=self.pulls)
