"""The distances of all rows of two matrices, and sums of differences weighted by all pairs."""

import triton
import triton.language as tl

from lossbench.impls import formulas
from lossbench.impls.triton.kernels.distances import measure_squares, root_of
from lossbench.impls.triton.kernels.launching import config, tuned
from lossbench.impls.triton.kernels.products import add_product
from lossbench.impls.triton.kernels.tiles import load_tile, tile_of

# The root of 1e-12 may round upwards; a distance up to this was clamped and has no gradient.
CLAMPED_DISTANCE = tl.constexpr(formulas.CLAMPED_DISTANCE)


@tuned(
    config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=32),
    config(4, 4, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=32),
    small=config(4, 3, BLOCK_M=64, BLOCK_N=64, BLOCK_K=16),
    odd=config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=16),
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
    FAR: tl.constexpr,
    NOISE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write ``distances [M, N]``: the squares, or their clamped roots."""
    row, column = tl.program_id(0).to(tl.int64) * BLOCK_M, tl.program_id(1).to(tl.int64) * BLOCK_N
    squares = measure_squares(
        a, b, a_halves, b_halves, row, column, a_rows, b_rows, dim,
        False, FEW, FAR, NOISE, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    at, inside = tile_of(distances, row, column, a_rows, b_rows, b_rows, FAR, BLOCK_M, BLOCK_N)
    tl.store(at, root_of(squares) if ROOTED else squares, mask=inside)


@triton.jit
def load_pairs(
    pairs,
    row,
    column,
    a_rows,
    b_rows,
    TRANSPOSED: tl.constexpr,
    FAR: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Return a tile of a matrix of all pairs ``[M, N]``, or of its transpose as if it were that."""
    if TRANSPOSED:
        tile = load_tile(pairs, column, row, b_rows, a_rows, a_rows, FAR, BLOCK_N, BLOCK_M)
        return tl.trans(tile)
    else:
        return load_tile(pairs, row, column, a_rows, b_rows, b_rows, FAR, BLOCK_M, BLOCK_N)


@tuned(
    config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=32),
    config(4, 4, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=32),
    small=config(4, 2, BLOCK_M=64, BLOCK_N=64, BLOCK_K=16),
    odd=config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=16),
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
    FACTOR: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    FAR: tl.constexpr,
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
        weights: the weights of all pairs, ``[M, N]``.
        distances: the distances of all pairs, as the weights; a clamped one has no gradient.
        upstream: a factor of all pulls, 0-d; None for 1.
        others: a tensor that is added to the gradient before that factor, ``[M, D]``; or None.
        gradient: the result, ``[M, D]``.
        a_rows: the number M.
        b_rows: the number N.
        dim: the number of features.
        FACTOR: the factor.
        TRANSPOSED: whether weights and distances are ``[N, M]`` instead.
        FAR: whether ``is_far`` holds for a stride.
        PRECISION: the precision of the product.
        BLOCK_M: the number of rows of a tile.
        BLOCK_N: the number of features of a tile.
        BLOCK_K: the number of pairs of a step.
    """
    row, corner = tl.program_id(0).to(tl.int64) * BLOCK_M, tl.program_id(1) * BLOCK_N
    pulled = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    for start in range(0, b_rows, BLOCK_K):
        pull = load_pairs(
            weights, row, start, a_rows, b_rows, TRANSPOSED, FAR, BLOCK_M, BLOCK_K
        ).to(tl.float32)
        if distances is not None:
            distance = load_pairs(
                distances, row, start, a_rows, b_rows, TRANSPOSED, FAR, BLOCK_M, BLOCK_K
            )
            pull = tl.where(distance > CLAMPED_DISTANCE, pull / distance, 0.0)
        there = load_tile(b, start, corner, b_rows, dim, dim, FAR, BLOCK_K, BLOCK_N)
        pulled = add_product(pulled, pull, there.to(tl.float32), PRECISION)
        total += tl.sum(pull, 1)
    here = load_tile(a, row, corner, a_rows, dim, dim, FAR, BLOCK_M, BLOCK_N).to(tl.float32)
    whole = (here * total[:, None] - pulled) * FACTOR
    if others is not None:
        whole += load_tile(others, row, corner, a_rows, dim, dim, FAR, BLOCK_M, BLOCK_N)
    if upstream is not None:
        whole *= tl.load(upstream).to(tl.float32)
    at, inside = tile_of(gradient, row, corner, a_rows, dim, dim, FAR, BLOCK_M, BLOCK_N)
    tl.store(at, whole, mask=inside)
