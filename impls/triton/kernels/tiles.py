"""Tiles of matrices, addressed from the row that they begin in.

That row is 64 bits away from the matrix, and the tile's elements 32 bits from the row. A whole
address for each element would take two registers, and where rows are no multiples of 16 elements,
every element is loaded by itself: tiles of float32 would spill.
"""

import triton
import triton.language as tl

# No tile has more rows than this, with one more for the columns before it.
MOST_ROWS = 256 + 1
# Distances of this many elements need 64 bits.
FAR_ELEMENTS = 2**31


def is_far(*strides: int) -> bool:
    """Return whether two rows of a tile may be too far apart for 32 bits, by the rows' strides."""
    return any(stride * MOST_ROWS >= FAR_ELEMENTS for stride in strides)


@triton.jit
def tile_of(
    matrix,
    row,
    column,
    row_end,
    column_end,
    stride,
    FAR: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Return the addresses of a tile of a matrix, and which of them are inside.

    Args:
        matrix: the matrix, its rows contiguous.
        row: the number of the tile's first row.
        column: the number of the tile's first column.
        row_end: the number of the first row that is outside.
        column_end: the number of the first column that is outside.
        stride: the distance of two rows.
        FAR: whether ``is_far`` holds for the stride.
        ROWS: the number of the tile's rows.
        COLUMNS: the number of the tile's columns.
    """
    down, across = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    # Of no more than a tile, so that no comparison needs 64 bits.
    rows = tl.minimum(row_end - row, ROWS).to(tl.int32)
    columns = tl.minimum(column_end - column, COLUMNS).to(tl.int32)
    inside = (down < rows)[:, None] & (across < columns)[None, :]
    corner = matrix + tl.cast(row, tl.int64) * stride
    if FAR:
        down = down.to(tl.int64)
        across = across + tl.cast(column, tl.int64)
    else:
        # A loop over columns then keeps no address of 64 bits for each element.
        across = across + tl.cast(column, tl.int32)
    return corner + (down[:, None] * stride + across[None, :]), inside


@triton.jit
def load_tile(
    matrix,
    row,
    column,
    row_end,
    column_end,
    stride,
    FAR: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Return a matrix's tile from a row and a column on, 0 from the ends on."""
    at, inside = tile_of(matrix, row, column, row_end, column_end, stride, FAR, ROWS, COLUMNS)
    return tl.load(at, mask=inside, other=0.0)
