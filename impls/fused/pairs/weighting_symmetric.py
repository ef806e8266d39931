"""The document's weighted triplet loss over half the pairs: both ends of a pair share e⁻ᵈ."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.formulas import CLAMPED_DISTANCE, LEAST_SQUARED_DISTANCE, LN_2, soft_margin
from lossbench.impls.fused.pairs.precomputed import Evaluated
from lossbench.impls.fused.pairs.row_blocks import RowBlock, block_rows, row_blocks
from lossbench.impls.fused.pairs.weighting import (
    mask_positives,
    weigh_positives,
)
from lossbench.impls.products import add_product, product

# Up to this batch size the second pass reuses the distances and weights of the first.
KEPT_BATCH = 1024


def unshifted_triplet(
    x: Tensor, labels: Tensor, *, epsilon: float, wants_gradient: bool
) -> Evaluated:
    """Return the result of ``weighted_triplet``, unshifted, for ``x [B, D]`` and ``labels [B]``.

    The first pass sums the weights at both ends of each pair; the second computes the gradient.
    """
    labels, order = labels.sort()
    result = _Triangle(x.index_select(0, order), labels, epsilon).step(wants_gradient)
    if result.gradient is None:
        return result
    gradient = torch.empty_like(result.gradient).index_copy_(0, order, result.gradient)
    return result._replace(gradient=gradient)


class _Pairs(NamedTuple):
    """A block's distances and weights to later columns, and the gradient factors in its band."""

    far: Tensor
    weight: Tensor
    near_pull: Tensor


class _Triangle:
    """Blocks of rows, from the first column of their classes on.

    With ``σ`` the slope of the loss over the sum of an anchor's weights, ``c`` its closest and
    ``τ = σ (1 + c)``, a pair of negatives has ``e⁻ᵈ ((σ_i + σ_j) d - (τ_i + τ_j)) / d`` in ``H``,
    and the gradient is ``(diag(H 1) - H) X``.
    """

    def __init__(self, x: Tensor, labels: Tensor, epsilon: float) -> None:
        self.x = x
        self.labels = labels
        self.epsilon = epsilon
        self.squares = torch.linalg.vecdot(x, x)
        self.blocks = list(row_blocks(labels))
        self.kept = len(x) <= KEPT_BATCH
        buffers = 1 + 2 * (len(self.blocks) if self.kept else 1)
        self.buffers = x.new_empty(buffers, block_rows(len(x)) * len(x))
        self.furthest = torch.empty_like(self.squares)
        self.pulls = torch.zeros_like(x)
        self.totals = torch.zeros_like(self.squares)

    def step(self, wants_gradient: bool) -> Evaluated:
        """Return the loss and, if wanted, the gradient of the sorted rows."""
        weights, products = torch.zeros_like(self.squares), torch.zeros_like(self.squares)
        kept: list[_Pairs | None] = []
        for number, block in enumerate(self.blocks):
            pairs = self._measure(number)
            self._add(weights, block, pairs.weight)
            product = torch.mul(pairs.weight, pairs.far, out=self._view(-1, block, block.start))
            self._add(products, block, product)
            kept.append(pairs if self.kept else None)
        weights += self.epsilon
        closest = products / weights
        loss = soft_margin(self.furthest - closest).mean()
        gradient = None
        if wants_gradient:
            slope = torch.sigmoid(self.furthest - closest).div_(len(self.x))
            sigma = slope / weights
            tau = sigma * (1 + closest)
            for number, known in enumerate(kept):
                again = self._measure(number) if known is None else known
                self._pull(self.blocks[number], again, slope, sigma, tau)
            gradient = torch.addcmul(self.pulls.neg_(), self.x, self.totals.unsqueeze(1))
        return Evaluated(loss, (closest >= self.furthest).count_nonzero(), gradient)

    def _view(self, number: int, block: RowBlock, first: int) -> Tensor:
        """Return a buffer as the block's rows, from the column ``first``."""
        shape = block.stop - block.start, len(self.x) - first
        return self.buffers[number, : shape[0] * shape[1]].view(shape)

    def _measure(self, number: int) -> _Pairs:
        block, first = self.blocks[number], 2 * number if self.kept else 0
        start, stop, low, high = block
        distances = self._distances(block, self._view(first, block, low))
        same = self.labels[start:stop].unsqueeze(1) == self.labels[low:high]
        near_pull = self._weigh_near(block, mask_positives(distances[:, : high - low], same))
        far = distances[:, start - low :]
        # torch's exp2 is several times as fast as its exp on the CPU.
        weight = torch.mul(far, -1 / LN_2, out=self._view(first + 1, block, start)).exp2_()
        weight[:, : high - start].masked_fill_(same[:, start - low :], 0)
        return _Pairs(far, weight, near_pull)

    def _distances(self, block: RowBlock, out: Tensor) -> Tensor:
        rows, columns = slice(block.start, block.stop), slice(block.low, None)
        squared = product(-2 * self.x[rows], self.x[columns].t(), self.squares[columns])
        torch.add(squared, self.squares[rows].unsqueeze(1), out=out)
        out.clamp_(min=LEAST_SQUARED_DISTANCE).sqrt_()
        # The distance of a row to itself is only rounding error.
        out.diagonal(block.start - block.low).fill_(LEAST_SQUARED_DISTANCE**0.5)
        return out

    def _weigh_near(self, block: RowBlock, near: Tensor) -> Tensor:
        """Set the rows' furthest; return its derivative over the distance, ``[rows, band]``."""
        weights, excess = weigh_positives(near, self.epsilon)
        furthest = torch.mul(near, weights).sum(1, keepdim=True)
        self.furthest[block.start : block.stop] = furthest.squeeze(1)
        pull = torch.sub(near, furthest - 1).mul_(weights)
        if excess is not None:
            index, share = excess
            pull.scatter_add_(1, index, share.mul_(furthest).neg_())
        return pull.div_(F.threshold(near, CLAMPED_DISTANCE, torch.inf))

    def _pull(
        self, block: RowBlock, pairs: _Pairs, slope: Tensor, sigma: Tensor, tau: Tensor
    ) -> None:
        rows, columns = slice(block.start, block.stop), slice(block.start, None)
        pull = self._view(-1, block, block.start)
        torch.add(sigma[rows].unsqueeze(1), sigma[columns], out=pull).mul_(pairs.far)
        pull.sub_(tau[rows].unsqueeze(1)).sub_(tau[columns]).mul_(pairs.weight)
        pull.div_(torch.threshold(pairs.far, CLAMPED_DISTANCE, torch.inf, out=pairs.weight))
        self._gather(block, pull, pairs.near_pull.mul_(slope[rows].unsqueeze(1)))

    def _add(self, sums: Tensor, block: RowBlock, values: Tensor) -> None:
        """Add values to the sums at both ends; the block's own columns count as rows only."""
        sums[block.start : block.stop].add_(values.sum(1))
        sums[block.stop :].add_(values[:, block.stop - block.start :].sum(0))

    def _gather(self, block: RowBlock, pull: Tensor, near_pull: Tensor) -> None:
        start, stop, low, high = block
        rows, own = slice(start, stop), stop - start
        before, after = near_pull[:, : start - low], near_pull[:, start - low :]
        pull[:, : high - start].add_(after)
        pull[:, :own].add_(after[:, :own].t())
        self._add(self.totals, block, pull)
        add_product(self.pulls[rows], pull, self.x[start:])
        add_product(self.pulls[stop:], pull[:, own:].t(), self.x[rows])
        if start > low:
            earlier = slice(low, start)
            self.totals[rows].add_(before.sum(1))
            self.totals[earlier].add_(before.sum(0))
            add_product(self.pulls[rows], before, self.x[earlier])
            add_product(self.pulls[earlier], before.t(), self.x[rows])
