"""The furthest positive and the closest negative of every row, a tile of products at a time.

The half squared distance of rows i and j is ``‖x_i‖²/2 + ‖x_j‖²/2 - x_i·x_j``. Its first term is
the same along a row, so that a score is the rest. ``partners [2, B]`` has a line for positives and
one for negatives.
"""

import triton
import triton.language as tl

from lossbench.impls import formulas
from lossbench.impls.triton.kernels.launching import config, tuned
from lossbench.impls.triton.kernels.products import add_product
from lossbench.impls.triton.kernels.rows import load_rows

LEAST_SQUARE = tl.constexpr(formulas.LEAST_SQUARED_DISTANCE)
# The root of 1e-12 may round upwards; a distance up to this was clamped and has no gradient.
CLAMPED_DISTANCE = tl.constexpr(formulas.CLAMPED_DISTANCE)
INFINITY = tl.constexpr(float("inf"))


@tuned(
    config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=64),
    config(8, 3, BLOCK_M=128, BLOCK_N=256, BLOCK_K=64),
    small=config(4, 3, BLOCK_M=64, BLOCK_N=64, BLOCK_K=16),
    odd=config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=16),
    key=("dim", "PRECISION"),
)
@triton.jit
def mine(
    x,
    labels,
    halves,
    scores,
    partners,
    batch,
    dim,
    span,
    FAR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Mine ``span`` columns for each row: ``scores`` and ``partners``, ``[splits, 2, B]`` each.

    Of equal scores the first column counts. Without any, the score is infinite, and the partner is
    the row itself.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK_M
    rows = row + tl.arange(0, BLOCK_M)
    split = tl.program_id(1).to(tl.int64)
    inside = rows < batch
    label = tl.load(labels + rows, mask=inside, other=0)
    furthest = tl.full([BLOCK_M], -INFINITY, tl.float32)
    closest = tl.full([BLOCK_M], INFINITY, tl.float32)
    positive, negative = rows.to(tl.int32), rows.to(tl.int32)
    last = tl.minimum((split + 1) * span, batch)
    for first in range(split * span, last, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N)
        products = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
        for start in range(0, dim, BLOCK_K):
            one = load_rows(x, row, start, batch, dim, FAR, PRECISION, BLOCK_M, BLOCK_K)
            other = load_rows(x, first, start, last, dim, FAR, PRECISION, BLOCK_N, BLOCK_K)
            products = add_product(products, one, tl.trans(other), PRECISION)
        score = tl.load(halves + column, mask=column < last, other=0.0)[None, :] - products
        within = (column < last)[None, :]
        same = label[:, None] == tl.load(labels + column, mask=column < last, other=0)[None, :]
        best, at = tl.max(tl.where(same & within, score, -INFINITY), 1, return_indices=True)
        positive = tl.where(best > furthest, (first + at).to(tl.int32), positive)
        furthest = tl.maximum(furthest, best)
        best, at = tl.min(tl.where(within & (same == 0), score, INFINITY), 1, return_indices=True)
        negative = tl.where(best < closest, (first + at).to(tl.int32), negative)
        closest = tl.minimum(closest, best)
    line = split * 2 * batch + rows
    tl.store(scores + line, furthest, mask=inside)
    tl.store(scores + line + batch, closest, mask=inside)
    tl.store(partners + line, positive, mask=inside)
    tl.store(partners + line + batch, negative, mask=inside)


@triton.jit
def measure_partners(
    x,
    scores,
    found,
    partners,
    pulls,
    hinges,
    correct,
    batch,
    dim,
    splits,
    margin,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Choose each row's partners among the splits', and compute their distances by differences.

    Writes the partners, each row's hinge, whether its closest negative is as far as its furthest
    positive, and ``pulls [2, B]``: the derivatives of the mean hinge by the distances, over the
    distances.
    """
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = rows < batch
    furthest = tl.full([BLOCK_M], -INFINITY, tl.float32)
    closest = tl.full([BLOCK_M], INFINITY, tl.float32)
    positive, negative = rows.to(tl.int32), rows.to(tl.int32)
    for split in range(splits):
        line = tl.cast(split, tl.int64) * 2 * batch + rows
        best = tl.load(scores + line, mask=inside, other=0.0)
        at = tl.load(found + line, mask=inside, other=0)
        positive = tl.where(best > furthest, at, positive)
        furthest = tl.maximum(furthest, best)
        best = tl.load(scores + line + batch, mask=inside, other=0.0)
        at = tl.load(found + line + batch, mask=inside, other=0)
        negative = tl.where(best < closest, at, negative)
        closest = tl.minimum(closest, best)
    tl.store(partners + rows, positive, mask=inside)
    tl.store(partners + batch + rows, negative, mask=inside)

    to_positive = distance(x, rows, positive.to(tl.int64), batch, dim, BLOCK_M, BLOCK_K)
    to_negative = distance(x, rows, negative.to(tl.int64), batch, dim, BLOCK_M, BLOCK_K)
    # A batch of one class has no negatives.
    to_negative = tl.where(closest == INFINITY, INFINITY, to_negative)
    hinge = to_positive - to_negative + margin
    tl.store(hinges + rows, tl.where(hinge < 0, 0.0, hinge), mask=inside)
    tl.store(correct + rows, (to_negative >= to_positive).to(tl.int32), mask=inside)
    active = hinge >= 0
    pull = pull_of(to_positive, active, batch)
    tl.store(pulls + rows, pull, mask=inside)
    tl.store(pulls + batch + rows, -pull_of(to_negative, active, batch), mask=inside)


@triton.jit
def distance(x, rows, others, batch, dim, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr):
    """Return the clamped distances of rows to other rows, ``[BLOCK_M]``."""
    squares = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        mask = (rows < batch)[:, None] & (feature < dim)[None, :]
        row = tl.load(x + rows[:, None] * dim + feature[None, :], mask=mask, other=0.0)
        other = tl.load(x + others[:, None] * dim + feature[None, :], mask=mask, other=0.0)
        difference = row.to(tl.float32) - other.to(tl.float32)
        squares += difference * difference
    total = tl.sum(squares, 1)
    return tl.sqrt(tl.where(total < LEAST_SQUARE, LEAST_SQUARE, total))


@triton.jit
def pull_of(distance, active, batch):
    """Return ``1 / (B d)``, 0 for a clamped distance and where the hinge is 0."""
    held = tl.where(distance > CLAMPED_DISTANCE, distance, INFINITY)
    return tl.where(active, 1 / (held * batch), 0.0)


@triton.jit
def pull_rows(
    x,
    partners,
    pulls,
    order,
    starts,
    upstream,
    gradient,
    batch,
    dim,
    BLOCK_E: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the gradient of a row, from its own pulls and those of the rows that it is partner of.

    These are found by ``order [2 B]``, the places of ``partners`` sorted by partner, and
    ``starts [B + 1]``, where each row's begin. Nothing is added by atomics, so that the sum is the
    same at every run.
    """
    row = tl.program_id(0).to(tl.int64)
    feature = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    within = feature < dim
    here = tl.load(x + row * dim + feature, mask=within, other=0.0).to(tl.float32)
    total = tl.zeros([BLOCK_K], tl.float32)
    for side in tl.static_range(2):
        partner = tl.load(partners + side * batch + row).to(tl.int64)
        there = tl.load(x + partner * dim + feature, mask=within, other=0.0).to(tl.float32)
        total += tl.load(pulls + side * batch + row) * (here - there)
    stop = tl.load(starts + row + 1)
    for start in range(tl.load(starts + row), stop, BLOCK_E):
        entry = start + tl.arange(0, BLOCK_E)
        place = tl.load(order + entry, mask=entry < stop, other=0).to(tl.int64)
        pull = tl.load(pulls + place, mask=entry < stop, other=0.0)
        anchor = tl.where(place < batch, place, place - batch)
        mask = (entry < stop)[:, None] & within[None, :]
        at = x + anchor[:, None] * dim + feature[None, :]
        anchors = tl.load(at, mask=mask, other=0.0).to(tl.float32)
        total += tl.sum(pull[:, None] * (here[None, :] - anchors), 0)
    total *= tl.load(upstream).to(tl.float32)
    tl.store(gradient + row * dim + feature, total, mask=within)
