"""The gradients of a cross-entropy: products with the derivatives of a block of classes.

A block takes three launches: the derivatives, ``[B, block]``, then the product of these with the
weight for the rows' gradient, and with the rows for the weight's. The next block overwrites the
derivatives. All sums are in a fixed order.
"""

import triton
import triton.language as tl

from lossbench.impls.triton.kernels.entropy_scores import load_upstreams, pull_of_target
from lossbench.impls.triton.kernels.entropy_terms import BEND, MISS, RADIAL, load_term
from lossbench.impls.triton.kernels.launching import config, tuned
from lossbench.impls.triton.kernels.products import add_product
from lossbench.impls.triton.kernels.tiles import load_tile, tile_of

in_tiles = tuned(
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=32),
    config(4, 4, BLOCK_M=64, BLOCK_N=128, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=64),
    small=config(4, 3, BLOCK_M=64, BLOCK_N=128, BLOCK_K=16),
    odd=config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=16),
    key=("dim", "classes", "PRECISION"),
)


@in_tiles
@triton.jit
def add_to_rows(
    derivatives,
    weight,
    slots,
    batch,
    dim,
    classes,
    first,
    last,
    width,
    share,
    is_first,
    FAR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Add a block's part of the rows' gradient to ``slots [4, B, D]``, which the first writes.

    A slot sums the same ``share`` of the classes of every block, because ``[B, D]`` alone has too
    few tiles to fill a chip. Tuning runs a kernel several times on the same slots, which is
    harmless for the first block alone; and since no other argument of the key changes between
    blocks, it is the first that tunes.
    """
    row, corner = tl.program_id(0).to(tl.int64) * BLOCK_M, tl.program_id(1) * BLOCK_N
    slot = tl.program_id(2).to(tl.int64)
    start = slot * share
    stop = tl.minimum(start + share, last - first)
    gradient = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for place in range(start, stop, BLOCK_K):
        pulls = load_tile(derivatives, row, place, batch, stop, width, FAR, BLOCK_M, BLOCK_K)
        columns = load_tile(
            weight, corner, first + place, dim, first + stop, classes, FAR, BLOCK_N, BLOCK_K
        )
        columns = tl.trans(columns.to(pulls.dtype))
        gradient = add_product(gradient, pulls, columns, PRECISION)
    own = slots + slot * batch * dim
    at, inside = tile_of(own, row, corner, batch, dim, dim, FAR, BLOCK_M, BLOCK_N)
    if is_first == 0:
        gradient += tl.load(at, mask=inside, other=0.0)
    tl.store(at, gradient, mask=inside)


@in_tiles
@triton.jit
def write_weight(
    derivatives,
    x,
    weight,
    columns,
    radial_sums,
    gradient,
    batch,
    dim,
    classes,
    first,
    last,
    width,
    tiles,
    SCALED: tl.constexpr,
    FAR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write a block's columns of the weight's ``gradient [D, C]``."""
    top, left = tl.program_id(0) * BLOCK_M, tl.program_id(1).to(tl.int64) * BLOCK_N
    place = left + tl.arange(0, BLOCK_N)
    product = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, batch, BLOCK_K):
        pulls = load_tile(derivatives, start, left, batch, width, width, FAR, BLOCK_K, BLOCK_N)
        rows = load_tile(x, start, top, batch, dim, dim, FAR, BLOCK_K, BLOCK_M)
        rows = tl.trans(rows.to(pulls.dtype))
        product = add_product(product, rows, pulls, PRECISION)
    column = first + place
    corner = first + left
    if SCALED:
        along = tl.zeros([BLOCK_N], tl.float32)
        for tile in range(tiles):
            at_tile = radial_sums + tl.cast(tile, tl.int64) * width + place
            along += tl.load(at_tile, mask=place < width, other=0.0)
        scale = tl.load(columns + column, mask=column < last, other=0.0)
        radial = tl.load(columns + classes + column, mask=column < last, other=0.0)
        whole = load_tile(weight, top, corner, dim, last, classes, FAR, BLOCK_M, BLOCK_N)
        product -= whole.to(tl.float32) * (scale * scale * radial * along)[None, :]
    at, inside = tile_of(gradient, top, corner, dim, last, classes, FAR, BLOCK_M, BLOCK_N)
    tl.store(at, product, mask=inside)


@triton.jit
def finish_rows(
    slots,
    x,
    labels,
    terms,
    class_weights,
    total_weight,
    upstream,
    spread_upstream,
    gradient,
    batch,
    dim,
    ROWS: tl.constexpr,
    SPREAD: tl.constexpr,
    SLOTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Add the slots, and what the rows' own lengths change: write the rows' gradient."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = rows < batch
    along = tl.zeros([BLOCK_M], tl.float32)
    if ROWS != "free":
        for start in range(0, dim, BLOCK_K):
            feature = start + tl.arange(0, BLOCK_K)
            mask = inside[:, None] & (feature < dim)[None, :]
            at = rows[:, None] * dim + feature[None, :]
            row = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
            along -= tl.sum(row * sum_slots(slots, at, mask, batch, dim, SLOTS), 1)
        along *= load_term(terms, RADIAL, rows, batch)
    if ROWS == "own":
        loss, spread, spreads = load_upstreams(
            upstream, spread_upstream, total_weight, rows, batch, SPREAD, BLOCK_M
        )
        weight = tl.zeros([BLOCK_M], tl.float32)
        if SPREAD:
            label = tl.load(labels + rows, mask=inside, other=0).to(tl.int64)
            weight = tl.load(class_weights + label, mask=inside, other=0.0)
        pull = pull_of_target(loss, spread, spreads, weight, load_term(terms, MISS, rows, batch))
        along += pull * load_term(terms, BEND, rows, batch)
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        mask = inside[:, None] & (feature < dim)[None, :]
        at = rows[:, None] * dim + feature[None, :]
        whole = sum_slots(slots, at, mask, batch, dim, SLOTS)
        if ROWS != "free":
            whole += tl.load(x + at, mask=mask, other=0.0).to(tl.float32) * along[:, None]
        tl.store(gradient + at, whole, mask=mask)


@triton.jit
def sum_slots(slots, at, mask, batch, dim, SLOTS: tl.constexpr):
    """Return the sum of the slots at some elements."""
    size = tl.cast(batch, tl.int64) * dim
    total = tl.load(slots + at, mask=mask, other=0.0)
    for slot in tl.static_range(1, SLOTS):
        total += tl.load(slots + slot * size + at, mask=mask, other=0.0)
    return total
