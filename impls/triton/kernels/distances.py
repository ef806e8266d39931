"""A tile of the distances of all pairs of rows."""

import triton
import triton.language as tl

from lossbench.impls import formulas
from lossbench.impls.triton.kernels.products import add_product
from lossbench.impls.triton.kernels.rows import load_rows

LEAST_SQUARE = tl.constexpr(formulas.LEAST_SQUARED_DISTANCE)


@triton.jit
def square_differences(
    x, rows, columns, last, batch, dim, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr
):
    """Return the squared distances of some rows to some columns, a feature at a time."""
    squares = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for feature in range(dim):
        row = tl.load(x + rows * dim + feature, mask=rows < batch, other=0.0).to(tl.float32)
        other = tl.load(x + columns * dim + feature, mask=columns < last, other=0.0).to(tl.float32)
        difference = row[:, None] - other[None, :]
        squares += difference * difference
    return squares


@triton.jit
def expand_squares(
    x,
    halves,
    rows,
    columns,
    last,
    batch,
    dim,
    NOISE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Return the squared distances of some rows to some columns by a product.

    A square below ``NOISE`` times the two rows' squares is rounding alone, as between equal rows.
    """
    products = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        row = load_rows(x, rows, feature, batch, dim, PRECISION)
        other = load_rows(x, columns, feature, last, dim, PRECISION)
        products = add_product(products, row, tl.trans(other), PRECISION)
    row_half = tl.load(halves + rows, mask=rows < batch, other=0.0)
    column_half = tl.load(halves + columns, mask=columns < last, other=0.0)
    both = row_half[:, None] + column_half[None, :]
    squares = 2 * (both - products)
    noise = (squares < 2 * NOISE * both) | (rows[:, None] == columns[None, :])
    return tl.where(noise, 0.0, squares)


@triton.jit
def measure_tile(
    x,
    halves,
    rows,
    columns,
    last,
    batch,
    dim,
    FEW: tl.constexpr,
    NOISE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Return the distances of some rows to some columns, clamped as the reference's are.

    With FEW features rows lie close together, where a product would lose their digits.
    """
    if FEW:
        squares = square_differences(x, rows, columns, last, batch, dim, BLOCK_M, BLOCK_N)
    else:
        squares = expand_squares(
            x, halves, rows, columns, last, batch, dim,
            NOISE, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
    return tl.sqrt(tl.where(squares < LEAST_SQUARE, LEAST_SQUARE, squares))
