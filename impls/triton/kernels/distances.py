"""A tile of the distances of all pairs of rows, of one matrix or of two."""

import triton
import triton.language as tl

from lossbench.impls import formulas
from lossbench.impls.triton.kernels.products import add_product
from lossbench.impls.triton.kernels.rows import load_rows

LEAST_SQUARE = tl.constexpr(formulas.LEAST_SQUARED_DISTANCE)


@triton.jit
def square_differences(
    a, b, row, column, row_end, column_end, dim, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr
):
    """Return the squared distances of some rows to some columns, a feature at a time."""
    rows, columns = row + tl.arange(0, BLOCK_M), column + tl.arange(0, BLOCK_N)
    squares = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for feature in range(dim):
        one = tl.load(a + rows * dim + feature, mask=rows < row_end, other=0.0).to(tl.float32)
        other = tl.load(b + columns * dim + feature, mask=columns < column_end, other=0.0)
        difference = one[:, None] - other.to(tl.float32)[None, :]
        squares += difference * difference
    return squares


@triton.jit
def expand_squares(
    a,
    b,
    a_halves,
    b_halves,
    row,
    column,
    row_end,
    column_end,
    dim,
    SAME: tl.constexpr,
    FAR: tl.constexpr,
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
        one = load_rows(a, row, start, row_end, dim, FAR, PRECISION, BLOCK_M, BLOCK_K)
        other = load_rows(b, column, start, column_end, dim, FAR, PRECISION, BLOCK_N, BLOCK_K)
        products = add_product(products, one, tl.trans(other), PRECISION)
    down, across = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    row_half = tl.load(a_halves + row + down, mask=row + down < row_end, other=0.0)
    column_half = tl.load(b_halves + column + across, mask=column + across < column_end, other=0.0)
    both = row_half[:, None] + column_half[None, :]
    squares = 2 * (both - products)
    noise = squares < 2 * NOISE * both
    if SAME:
        noise |= (down + (row - column).to(tl.int32))[:, None] == across[None, :]
    return tl.where(noise, 0.0, squares)


@triton.jit
def measure_squares(
    a,
    b,
    a_halves,
    b_halves,
    row,
    column,
    row_end,
    column_end,
    dim,
    SAME: tl.constexpr,
    FEW: tl.constexpr,
    FAR: tl.constexpr,
    NOISE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Return the squared distances of some rows of ``a [M, D]`` to some of ``b [N, D]``.

    With FEW features rows lie close together, where a product would lose their digits.

    Args:
        a: the matrix of the rows.
        b: the matrix of the columns.
        a_halves: half the squares of the lengths of ``a``'s rows, ``[M]``.
        b_halves: half the squares of the lengths of ``b``'s rows, ``[N]``.
        row: the number of the first row.
        column: the number of the first column.
        row_end: the number of the first row that is not to be read.
        column_end: the number of the first column that is not to be read.
        dim: the number of features.
        SAME: whether ``a`` and ``b`` are one matrix, so that the diagonal is 0.
        FEW: whether there are few features.
        FAR: whether ``is_far`` holds for the number of features.
        NOISE: the share of the rows' squares below which a square is rounding alone.
        PRECISION: the precision of the product.
        BLOCK_M: the number of rows.
        BLOCK_N: the number of columns.
        BLOCK_K: the number of features of a step.
    """
    if FEW:
        squares = square_differences(a, b, row, column, row_end, column_end, dim, BLOCK_M, BLOCK_N)
    else:
        squares = expand_squares(
            a, b, a_halves, b_halves, row, column, row_end, column_end, dim,
            SAME, FAR, NOISE, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
    return squares


@triton.jit
def root_of(squares):
    """Return distances, clamped as the reference's are."""
    return tl.sqrt(tl.where(squares < LEAST_SQUARE, LEAST_SQUARE, squares))


@triton.jit
def measure_tile(
    x,
    halves,
    row,
    column,
    last,
    batch,
    dim,
    FEW: tl.constexpr,
    FAR: tl.constexpr,
    NOISE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Return the distances of some rows of ``x [B, D]`` to some others, clamped."""
    squares = measure_squares(
        x, x, halves, halves, row, column, batch, last, dim,
        True, FEW, FAR, NOISE, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
    )  # fmt: skip
    return root_of(squares)
