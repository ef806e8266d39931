"""The gradient of softmax-weighted distances: their tiles are computed again, and none is kept."""

import triton
import triton.language as tl

from lossbench.impls import formulas
from lossbench.impls.triton.kernels.distances import measure_tile
from lossbench.impls.triton.kernels.launching import config, tuned
from lossbench.impls.triton.kernels.products import add_product
from lossbench.impls.triton.kernels.rows import load_rows
from lossbench.impls.triton.kernels.tiles import load_tile, tile_of
from lossbench.impls.triton.kernels.weighting import (
    BOTTOM,
    CLOSEST,
    FURTHEST,
    NEGATIVE_SHARE,
    POSITIVE_SHARE,
    SLOPE,
    TOP,
)

# The root of 1e-12 may round upwards; a distance up to this was clamped and has no gradient.
CLAMPED_DISTANCE = tl.constexpr(formulas.CLAMPED_DISTANCE)


@triton.jit
def load_line(anchors, LINE: tl.constexpr, rows, batch, last, AXIS: tl.constexpr):
    """Return a line of anchors along one axis of a tile, 0 from ``last`` on."""
    values = tl.load(anchors + LINE * batch + rows, mask=rows < last, other=0.0)
    return tl.expand_dims(values, AXIS)


@triton.jit
def derive_distances(
    distance,
    same,
    is_furthest,
    anchors,
    rows,
    batch,
    last,
    EPSILON: tl.constexpr,
    AXIS: tl.constexpr,
):
    """Return the derivatives of the mean loss by a tile of distances, for the anchors of an axis.

    They are ``w (1 + d - f)`` and ``-w (1 - d + c)``. The shift by the maximum scales epsilon, so
    that the furthest positive has ``-ε f / Z`` more.
    """
    top = load_line(anchors, TOP, rows, batch, last, AXIS)
    near = load_line(anchors, FURTHEST, rows, batch, last, AXIS)
    bottom = load_line(anchors, BOTTOM, rows, batch, last, AXIS)
    far = load_line(anchors, CLOSEST, rows, batch, last, AXIS)
    slope = load_line(anchors, SLOPE, rows, batch, last, AXIS)
    # One exponential serves both, since a pair is either.
    power = tl.exp(tl.where(same, distance - top, -distance - bottom))
    pull = power * (1 + distance - near)
    if EPSILON != 0:
        pull -= tl.where(is_furthest, EPSILON * near, 0.0)
    pull *= load_line(anchors, POSITIVE_SHARE, rows, batch, last, AXIS)
    push = (
        power * (distance - far - 1) * load_line(anchors, NEGATIVE_SHARE, rows, batch, last, AXIS)
    )
    return tl.where(same, pull, push) * slope


@tuned(
    config(8, 2, BLOCK_M=64, BLOCK_N=32, BLOCK_K=32, BLOCK_D=64),
    config(8, 2, BLOCK_M=64, BLOCK_N=32, BLOCK_K=32, BLOCK_D=128),
    config(8, 3, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32, BLOCK_D=128),
    config(8, 2, BLOCK_M=128, BLOCK_N=64, BLOCK_K=32, BLOCK_D=128),
    small=config(4, 2, BLOCK_M=32, BLOCK_N=32, BLOCK_K=16, BLOCK_D=64),
    odd=config(8, 2, BLOCK_M=64, BLOCK_N=32, BLOCK_K=16, BLOCK_D=64),
    key=("dim", "PRECISION"),
)
@triton.jit
def pull_pairs(
    x,
    labels,
    halves,
    anchors,
    furthest,
    slots,
    batch,
    dim,
    share,
    EPSILON: tl.constexpr,
    FEW: tl.constexpr,
    FAR: tl.constexpr,
    NOISE: tl.constexpr,
    PRECISION: tl.constexpr,
    PULL_PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Write the gradient by ``share`` of the columns, ``slots [4, B, D]``.

    With ``H`` the derivatives by the distances of a pair from both sides, over the distance, it is
    ``Σ_j H_ij (x_i - x_j)``. A tile of H is computed again for each ``BLOCK_D`` features.
    """
    row, corner = tl.program_id(0).to(tl.int64) * BLOCK_M, tl.program_id(1) * BLOCK_D
    rows = row + tl.arange(0, BLOCK_M)
    slot = tl.program_id(2).to(tl.int64)
    label = tl.load(labels + rows, mask=rows < batch, other=0)
    partner = tl.load(furthest + rows, mask=rows < batch, other=0)
    last = tl.minimum((slot + 1) * share, batch)
    pulled = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    for first in range(slot * share, last, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N)
        distance = measure_tile(
            x, halves, row, first, last, batch, dim,
            FEW, FAR, NOISE, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        inside = column < last
        same = label[:, None] == tl.load(labels + column, mask=inside, other=0)[None, :]
        own = partner[:, None] == column[None, :]
        theirs = tl.load(furthest + column, mask=inside, other=0)[None, :] == rows[:, None]
        both = derive_distances(distance, same, own, anchors, rows, batch, batch, EPSILON, 1)
        both += derive_distances(distance, same, theirs, anchors, column, batch, last, EPSILON, 0)
        kept = (distance > CLAMPED_DISTANCE) & inside[None, :]
        both = tl.where(kept, both / distance, 0.0)
        others = load_rows(x, first, corner, last, dim, FAR, PRECISION, BLOCK_N, BLOCK_D)
        pulled = add_product(pulled, both, others.to(tl.float32), PULL_PRECISION)
        total += tl.sum(both, 1)
    here = load_tile(x, row, corner, batch, dim, dim, FAR, BLOCK_M, BLOCK_D).to(tl.float32)
    own = slots + slot * batch * dim
    at, inside = tile_of(own, row, corner, batch, dim, dim, FAR, BLOCK_M, BLOCK_D)
    tl.store(at, here * total[:, None] - pulled, mask=inside)


@triton.jit
def add_slots(slots, upstream, gradient, size, SLOTS: tl.constexpr, BLOCK: tl.constexpr):
    """Write the sum of the slots times the upstream gradient."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(slots + at, mask=at < size, other=0.0)
    for slot in tl.static_range(1, SLOTS):
        start = tl.cast(size, tl.int64) * slot
        total += tl.load(slots + start + at, mask=at < size, other=0.0)
    tl.store(gradient + at, total * tl.load(upstream).to(tl.float32), mask=at < size)
