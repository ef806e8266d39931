"""Softmax-weighted distances of all pairs and their sums, a tile of pairs at a time.

With ``d`` the distances of an anchor to its positives, ``f = Σ w d`` and ``w = e^(d - top) / Z``,
``Z = Σ e^(d - top) + ε``. Of its negatives ``c = Σ w d``, with ``w`` over ``-d``. A line of
``anchors [7, B]`` holds one of these numbers for every anchor.
"""

import triton
import triton.language as tl

from lossbench.impls.triton.kernels.distances import measure_tile
from lossbench.impls.triton.kernels.launching import config, tuned

# The lines of anchors: the shifts, 1 / Z and the means of positives and negatives, and the slope.
TOP = tl.constexpr(0)
POSITIVE_SHARE = tl.constexpr(1)
FURTHEST = tl.constexpr(2)
BOTTOM = tl.constexpr(3)
NEGATIVE_SHARE = tl.constexpr(4)
CLOSEST = tl.constexpr(5)
SLOPE = tl.constexpr(6)
LINES = 7
# The lines of sums: the shift, Σ e^(d - shift) and Σ e^(d - shift) d of both sides.
SUMS = 6
# Below any distance, and finite, so that a difference of two of them is no NaN.
LOWEST = tl.constexpr(-3.0e38)


@tuned(
    config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=32),
    config(4, 4, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=32),
    small=config(4, 3, BLOCK_M=64, BLOCK_N=64, BLOCK_K=16),
    odd=config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=16),
    key=("dim", "PRECISION"),
)
@triton.jit
def sum_weights(
    x,
    labels,
    halves,
    sums,
    found,
    batch,
    dim,
    span,
    SHIFTED: tl.constexpr,
    FEW: tl.constexpr,
    FAR: tl.constexpr,
    NOISE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Sum the weights of ``span`` columns for each row: ``sums [splits, 6, B]``.

    ``found [splits, B]`` gets the furthest positive: its distance is the shift of the positives.
    The negatives are shifted by the closest if SHIFTED.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK_M
    rows = row + tl.arange(0, BLOCK_M)
    split = tl.program_id(1).to(tl.int64)
    inside = rows < batch
    label = tl.load(labels + rows, mask=inside, other=0)
    none = tl.zeros([BLOCK_M], tl.float32)
    top, near_sum, near_mean = none + LOWEST, none, none
    bottom, far_sum, far_mean = none + (LOWEST if SHIFTED else 0.0), none, none
    furthest = rows.to(tl.int32)
    last = tl.minimum((split + 1) * span, batch)
    for first in range(split * span, last, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N)
        distance = measure_tile(
            x, halves, row, first, last, batch, dim,
            FEW, FAR, NOISE, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        within = (column < last)[None, :]
        same = label[:, None] == tl.load(labels + column, mask=column < last, other=0)[None, :]
        positive, negative = same & within, (same == 0) & within
        best, at = tl.max(tl.where(positive, distance, LOWEST), 1, return_indices=True)
        furthest = tl.where(best > top, (first + at).to(tl.int32), furthest)
        best = tl.maximum(top, best)
        weights = tl.where(positive, tl.exp(distance - best[:, None]), 0.0)
        shrink = tl.exp(top - best)
        near_sum = near_sum * shrink + tl.sum(weights, 1)
        near_mean = near_mean * shrink + tl.sum(weights * distance, 1)
        top = best
        best = bottom
        if SHIFTED:
            best = tl.maximum(bottom, tl.max(tl.where(negative, -distance, LOWEST), 1))
        weights = tl.where(negative, tl.exp(-distance - best[:, None]), 0.0)
        shrink = tl.exp(bottom - best)
        far_sum = far_sum * shrink + tl.sum(weights, 1)
        far_mean = far_mean * shrink + tl.sum(weights * distance, 1)
        bottom = best
    line = sums + split * 6 * batch + rows
    tl.store(line, top, mask=inside)
    tl.store(line + batch, near_sum, mask=inside)
    tl.store(line + 2 * batch, near_mean, mask=inside)
    tl.store(line + 3 * batch, bottom, mask=inside)
    tl.store(line + 4 * batch, far_sum, mask=inside)
    tl.store(line + 5 * batch, far_mean, mask=inside)
    tl.store(found + split * batch + rows, furthest, mask=inside)


@triton.jit
def add_sums(line, batch, mask, top, total, mean):
    """Return the shift and the sums of two parts."""
    one = tl.load(line, mask=mask, other=0.0)
    best = tl.maximum(top, one)
    shrink, other = tl.exp(top - best), tl.exp(one - best)
    total = total * shrink + tl.load(line + batch, mask=mask, other=0.0) * other
    mean = mean * shrink + tl.load(line + 2 * batch, mask=mask, other=0.0) * other
    return best, total, mean


@triton.jit
def finish_anchors(
    sums,
    found,
    anchors,
    furthest,
    losses,
    correct,
    batch,
    splits,
    EPSILON: tl.constexpr,
    SHIFTED: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Add the splits: write each anchor's numbers, furthest positive, loss, and whether it fits."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = rows < batch
    none = tl.zeros([BLOCK_M], tl.float32)
    top, near_sum, near_mean = none + LOWEST, none, none
    bottom, far_sum, far_mean = none + (LOWEST if SHIFTED else 0.0), none, none
    partner = rows.to(tl.int32)
    for split in range(splits):
        line = sums + tl.cast(split, tl.int64) * 6 * batch + rows
        at = tl.load(found + tl.cast(split, tl.int64) * batch + rows, mask=inside, other=0)
        partner = tl.where(tl.load(line, mask=inside, other=LOWEST) > top, at, partner)
        top, near_sum, near_mean = add_sums(line, batch, inside, top, near_sum, near_mean)
        line += 3 * batch
        bottom, far_sum, far_mean = add_sums(line, batch, inside, bottom, far_sum, far_mean)
    near_share, far_share = 1 / (near_sum + EPSILON), 1 / (far_sum + EPSILON)
    near_mean *= near_share
    far_mean *= far_share
    gap = near_mean - far_mean
    power = tl.exp(-tl.abs(gap))
    # Below 1e-4 the square of the power is lost in rounding, and log would lose the power too.
    softplus = tl.where(power < 1e-4, power - power * power / 2, tl.log(1 + power))
    slope = tl.where(gap > 0, 1.0, power) / (1 + power) / batch
    tl.store(losses + rows, tl.where(gap > 0, gap, 0.0) + softplus, mask=inside)
    tl.store(correct + rows, (far_mean >= near_mean).to(tl.int32), mask=inside)
    tl.store(furthest + rows, partner, mask=inside)
    tl.store(anchors + TOP * batch + rows, top, mask=inside)
    tl.store(anchors + POSITIVE_SHARE * batch + rows, near_share, mask=inside)
    tl.store(anchors + FURTHEST * batch + rows, near_mean, mask=inside)
    tl.store(anchors + BOTTOM * batch + rows, bottom, mask=inside)
    tl.store(anchors + NEGATIVE_SHARE * batch + rows, far_share, mask=inside)
    tl.store(anchors + CLOSEST * batch + rows, far_mean, mask=inside)
    tl.store(anchors + SLOPE * batch + rows, slope, mask=inside)
