"""Rows minus other rows: their squared lengths, and their multiples.

The other row is the one at a row's ``place``, as the centre of its class, or else the one of the
same number. A ``pull`` is the derivative of a loss by a difference, over that difference.
"""

import triton
import triton.language as tl

from lossbench.impls.triton.kernels.launching import sized

# The rows and the features of a tile, and the numbers that the one program of a sum adds at once.
ROWS = sized(16, interpreted=16)
FEATURES = sized(64, interpreted=16)
NUMBERS = sized(1024, interpreted=16)


@triton.jit
def subtract(x, other, places, rows, feature, batch, dim):
    """Return a tile of ``x [B, D]`` minus the rows of ``other`` at their places, in float32."""
    mask = (rows < batch)[:, None] & (feature < dim)[None, :]
    there = rows
    if places is not None:
        there = tl.load(places + rows, mask=rows < batch, other=0).to(tl.int64)
    row = tl.load(x + rows[:, None] * dim + feature[None, :], mask=mask, other=0.0)
    subtrahend = tl.load(other + there[:, None] * dim + feature[None, :], mask=mask, other=0.0)
    return row.to(tl.float32) - subtrahend.to(tl.float32)


@triton.jit
def square_rows(
    x,
    other,
    places,
    squares,
    differences,
    batch,
    dim,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the squared length of each row's difference, and the difference too if it is kept."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    total = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        difference = subtract(x, other, places, rows, feature, batch, dim)
        total += difference * difference
        if differences is not None:
            mask = (rows < batch)[:, None] & (feature < dim)[None, :]
            tl.store(differences + rows[:, None] * dim + feature[None, :], difference, mask=mask)
    tl.store(squares + rows, tl.sum(total, 1), mask=rows < batch)


@triton.jit
def sum_all(numbers, count, BLOCK: tl.constexpr):
    """Return the sum of some numbers, in a fixed order."""
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        total += tl.load(numbers + place, mask=place < count, other=0.0)
    return tl.sum(total, 0)


@triton.jit
def weigh_squares(
    squares,
    value,
    pull,
    batch,
    divisor,
    factor,
    ROOTED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write ``factor / divisor`` times the sum of all squares, or times its root, and the pull.

    A root of 0 has no gradient.
    """
    total = sum_all(squares, batch, BLOCK)
    share = factor / divisor
    if ROOTED:
        length = tl.sqrt(total)
        tl.store(value, share * length)
        tl.store(pull, tl.where(length > 0, share / length, 0.0))
    else:
        tl.store(value, share * total)
        tl.store(pull, 2 * share)


@triton.jit
def scale_differences(
    x,
    other,
    places,
    pulls,
    upstream,
    gradient,
    opposite,
    batch,
    dim,
    EACH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the gradient of ``x``, and that of ``other``, as far as they are wanted.

    They are the differences times their pulls and the upstream gradient, and the opposite.
    ``pulls`` is one number, or one of EACH row.
    """
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    feature = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    mask = (rows < batch)[:, None] & (feature < dim)[None, :]
    difference = subtract(x, other, places, rows, feature, batch, dim)
    difference *= load_pulls(pulls, upstream, rows, rows < batch, EACH)
    at = rows[:, None] * dim + feature[None, :]
    if gradient is not None:
        tl.store(gradient + at, difference, mask=mask)
    if opposite is not None:
        tl.store(opposite + at, -difference, mask=mask)


@triton.jit
def load_pulls(pulls, upstream, rows, mask, EACH: tl.constexpr):
    """Return what to multiply the differences of some rows by, for a tile ``[rows, features]``."""
    pull = tl.load(pulls + rows, mask=mask, other=0.0)[:, None] if EACH else tl.load(pulls)
    if upstream is not None:
        pull *= tl.load(upstream).to(tl.float32)
    return pull
