"""The distances of all rows of two matrices, and sums of differences weighted by all pairs."""

import triton
import triton.language as tl

from lossbench.impls import formulas
from lossbench.impls.triton.kernels.distances import measure_squares, root_of
from lossbench.impls.triton.kernels.launching import config, tuned
from lossbench.impls.triton.kernels.products import add_product

# The root of 1e-12 may round upwards; a distance up to this was clamped and has no gradient.
CLAMPED_DISTANCE = tl.constexpr(formulas.CLAMPED_DISTANCE)


@tuned(
    config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=32),
    config(4, 4, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=32),
    small=config(4, 3, BLOCK_M=64, BLOCK_N=64, BLOCK_K=16),
    key=("dim", "PRECISION"),
)
@triton.jit
def measure_all(
    a,
    b,
    a_halves,
    b_halves,
    distances,
    a_rows,
    b_rows,
    dim,
    ROOTED: tl.constexpr,
    FEW: tl.constexpr,
    NOISE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write ``distances [M, N]``: the squares, or their clamped roots."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    squares = measure_squares(
        a, b, a_halves, b_halves, rows, columns, a_rows, b_rows, dim,
        False, FEW, NOISE, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    mask = (rows < a_rows)[:, None] & (columns < b_rows)[None, :]
    at = rows[:, None] * b_rows + columns[None, :]
    tl.store(distances + at, root_of(squares) if ROOTED else squares, mask=mask)


@tuned(
    config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=32),
    config(4, 4, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=32),
    small=config(4, 3, BLOCK_M=64, BLOCK_N=64, BLOCK_K=16),
    key=("dim", "PRECISION"),
)
@triton.jit
def pull_side(
    a,
    b,
    weights,
    distances,
    upstream,
    others,
    gradient,
    a_rows,
    b_rows,
    dim,
    row_stride,
    column_stride,
    FACTOR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write ``FACTOR · Σ_j p_ij (a_i - b_j)`` for each row of ``a [M, D]``.

    A pull ``p_ij`` is a weight, over the distance if ``distances`` is not None.

    Args:
        a: the rows that have the gradient, ``[M, D]``.
        b: the rows that are subtracted, ``[N, D]``.
        weights: the weights of all pairs, at ``i · row_stride + j · column_stride``.
        distances: the distances of all pairs, as the weights; a clamped one has no gradient.
        upstream: a factor of all pulls, 0-d; None for 1.
        others: a tensor that is added to the gradient before that factor, ``[M, D]``; or None.
        gradient: the result, ``[M, D]``.
        a_rows: the number M.
        b_rows: the number N.
        dim: the number of features.
        row_stride: the distance of the weights of two rows.
        column_stride: the distance of two weights of a row.
        FACTOR: the factor.
        PRECISION: the precision of the product.
        BLOCK_M: the number of rows of a tile.
        BLOCK_N: the number of features of a tile.
        BLOCK_K: the number of pairs of a step.
    """
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    feature = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    pulled = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    for start in range(0, b_rows, BLOCK_K):
        column = start + tl.arange(0, BLOCK_K).to(tl.int64)
        mask = (rows < a_rows)[:, None] & (column < b_rows)[None, :]
        at = rows[:, None] * row_stride + column[None, :] * column_stride
        pull = tl.load(weights + at, mask=mask, other=0.0).to(tl.float32)
        if distances is not None:
            distance = tl.load(distances + at, mask=mask, other=1.0)
            pull = tl.where(distance > CLAMPED_DISTANCE, pull / distance, 0.0)
        inside = (column < b_rows)[:, None] & (feature < dim)[None, :]
        there = tl.load(b + column[:, None] * dim + feature[None, :], mask=inside, other=0.0)
        pulled = add_product(pulled, pull, there.to(tl.float32), PRECISION)
        total += tl.sum(pull, 1)
    mask = (rows < a_rows)[:, None] & (feature < dim)[None, :]
    at = rows[:, None] * dim + feature[None, :]
    here = tl.load(a + at, mask=mask, other=0.0).to(tl.float32)
    whole = (here * total[:, None] - pulled) * FACTOR
    if others is not None:
        whole += tl.load(others + at, mask=mask, other=0.0)
    if upstream is not None:
        whole *= tl.load(upstream).to(tl.float32)
    tl.store(gradient + at, whole, mask=mask)
