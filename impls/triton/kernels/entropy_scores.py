"""The derivatives of a cross-entropy by the products of rows and columns, a block at a time."""

import triton
import triton.language as tl

from lossbench.impls.triton.kernels.entropy_forward import multiply, score
from lossbench.impls.triton.kernels.entropy_terms import (
    FACTOR,
    HIGHEST,
    MISS,
    SHARE,
    SLOPE,
    load_term,
)
from lossbench.impls.triton.kernels.launching import config, tuned


@triton.jit
def load_upstreams(
    upstream,
    spread_upstream,
    total_weight,
    rows,
    batch,
    SPREAD: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Return the derivatives of the result by the losses and by the spreads of some rows.

    With ``a`` and ``b`` for these and ``v`` for the class weights, the derivative by a score is
    ``(a + b Σv) p - a [target] - b v``. The third value is its ``b Σv``.
    """
    loss = tl.load(upstream + rows, mask=rows < batch, other=0.0)
    if SPREAD:
        spread = tl.load(spread_upstream + rows, mask=rows < batch, other=0.0)
        return loss, spread, spread * tl.load(total_weight)
    else:
        none = tl.zeros([BLOCK_M], tl.float32)
        return loss, none, none


@triton.jit
def pull_of_target(loss, spread, spreads, weight, miss):
    """Return the derivative by the target's score, ``a (p - 1) + b Σv p - b v``.

    ``p - 1`` is ``-miss``, which keeps its digits where p is near 1.
    """
    return -loss * miss + spreads * (1 - miss) - spread * weight


@tuned(
    config(8, 3, BLOCK_N=128, BLOCK_K=32),
    config(8, 3, BLOCK_N=128, BLOCK_K=64),
    config(8, 3, BLOCK_N=256, BLOCK_K=64),
    small=config(8, 3, BLOCK_N=64, BLOCK_K=32),
    odd=config(8, 3, BLOCK_N=64, BLOCK_K=16),
    key=("dim", "classes", "PRECISION"),
)
@triton.jit
def derive_scores(
    x,
    weight,
    labels,
    terms,
    columns,
    class_weights,
    total_weight,
    upstream,
    spread_upstream,
    derivatives,
    radial_sums,
    batch,
    dim,
    classes,
    first,
    last,
    width,
    SCALED: tl.constexpr,
    SPREAD: tl.constexpr,
    FAR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the derivatives by the products ``x_i · w_j`` of the classes from first to last.

    ``derivatives [B, width]`` gets them, and ``radial_sums [row tiles, width]`` for each tile the
    sum over its rows of derivative times product: what a column's gradient has along the column.
    """
    tile = tl.program_id(0).to(tl.int64)
    rows = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    corner = tl.program_id(1).to(tl.int64) * BLOCK_N
    place = corner + tl.arange(0, BLOCK_N)
    column = first + place
    products = multiply(
        x, weight, tile * BLOCK_M, first + corner, last, batch, dim, classes,
        FAR, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    scale = load_term(terms, FACTOR, rows, batch)[:, None]
    if SCALED:
        scale = scale * tl.load(columns + column, mask=column < last, other=0.0)[None, :]
    label = tl.load(labels + rows, mask=rows < batch, other=0).to(tl.int64)
    loss, spread, spreads = load_upstreams(
        upstream, spread_upstream, total_weight, rows, batch, SPREAD, BLOCK_M
    )
    highest = load_term(terms, HIGHEST, rows, batch)
    share = load_term(terms, SHARE, rows, batch)
    scores = score(products, terms, rows, batch, columns, column, last, SCALED)
    pulls = ((loss + spreads) * share)[:, None] * tl.exp2(scores - highest[:, None])
    of_target = tl.zeros([BLOCK_M], tl.float32)
    if SPREAD:
        weights = tl.load(class_weights + column, mask=column < last, other=0.0)
        pulls -= spread[:, None] * weights[None, :]
        # A label of -1 is a class of another shard.
        within = (rows < batch) & (label >= 0)
        of_target = tl.load(class_weights + label, mask=within, other=0.0)
    target = pull_of_target(loss, spread, spreads, of_target, load_term(terms, MISS, rows, batch))
    target *= load_term(terms, SLOPE, rows, batch)
    is_target = column[None, :] == label[:, None]
    pulls = tl.where(is_target, target[:, None], pulls) * scale
    inside = (rows < batch)[:, None] & (column < last)[None, :]
    pulls = tl.where(inside, pulls, 0.0)
    at = rows[:, None] * width + place[None, :]
    tl.store(derivatives + at, pulls, mask=(rows < batch)[:, None] & (place < width)[None, :])
    if SCALED:
        along = tl.sum(pulls * products, 0)
        tl.store(radial_sums + tile * width + place, along, mask=place < width)
