"""What a cross-entropy needs of each row and each column, beside the products of both.

``terms [8, B]`` has a line for each number of a row, and ``columns [2, C]`` one for each of a
column; both are float32. Scores are in units of log 2.
"""

import triton
import triton.language as tl

from lossbench.impls.triton.kernels.angles import additive, annealed, guarded, multiple

# The lines of terms: five of the target, then three of all classes.
FACTOR = tl.constexpr(0)  # what a row is multiplied by
RADIAL = tl.constexpr(1)  # what a gradient along the row loses, since the factor changes too
TARGET = tl.constexpr(2)  # the target's score under the margin
SLOPE = tl.constexpr(3)  # the derivative of the target's logit by its product
BEND = tl.constexpr(4)  # its derivative by the row's length, over that length
HIGHEST = tl.constexpr(5)  # the highest score
SHARE = tl.constexpr(6)  # 1 over the sum of 2^(score - highest)
MISS = tl.constexpr(7)  # the probability of all classes but the target
TERMS = 8

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
# As torch.nn.functional.normalize: a shorter vector is divided by this.
LEAST_LENGTH = tl.constexpr(1e-12)
# Its square is a float32. Where rows are as short as this, their own gradient is lost in rounding.
LEAST_RADIUS = tl.constexpr(1e-18)


@triton.jit
def load_term(terms, LINE: tl.constexpr, rows, batch):
    """Return a line of ``terms`` at some rows, 0 beyond the last."""
    return tl.load(terms + LINE * batch + rows, mask=rows < batch, other=0.0)


@triton.jit
def store_term(terms, LINE: tl.constexpr, rows, batch, value):
    """Write a line of ``terms`` at some rows."""
    tl.store(terms + LINE * batch + rows, value.to(tl.float32), mask=rows < batch)


@triton.jit
def scale_of(length, COLUMNS: tl.constexpr):
    """Return what a column is multiplied by, and the share of its gradient along it that is lost.

    Args:
        length: the lengths of columns.
        COLUMNS: ``free`` to leave them, ``unit`` for length 1, ``max_norm`` for ``renorm``'s: that
            stretches columns of 1e-5 or less by 1e5.
    """
    if COLUMNS == "unit":
        held = tl.maximum(length, LEAST_LENGTH)
        return 1 / held, tl.where(length < LEAST_LENGTH, 0.0, 1.0)
    elif COLUMNS == "max_norm":
        short = length <= 1e-5
        longer = length + 1e-7
        radial = tl.where(short, 0.0, longer / tl.where(short, 1.0, length))
        return tl.where(short, 1e5, 1 / longer), radial
    else:
        return tl.zeros_like(length) + 1, tl.zeros_like(length)


@triton.jit
def scale_columns(
    weight,
    columns,
    dim,
    classes,
    COLUMNS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the scale and the radial share of each column of ``weight [D, C]``."""
    column = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = column < classes
    squares = tl.zeros([BLOCK_K, BLOCK_N], tl.float32)
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        mask = (feature < dim)[:, None] & inside[None, :]
        at = feature[:, None].to(tl.int64) * classes + column[None, :]
        tile = tl.load(weight + at, mask=mask, other=0.0).to(tl.float32)
        squares += tile * tile
    scale, radial = scale_of(tl.sqrt(tl.sum(squares, 0)), COLUMNS)
    tl.store(columns + column, scale, mask=inside)
    tl.store(columns + classes + column, radial, mask=inside)


@triton.jit
def find_targets(
    x,
    weight,
    labels,
    calls,
    terms,
    batch,
    dim,
    classes,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    MARGIN: tl.constexpr,
    SCALE: tl.constexpr,
    COS_M: tl.constexpr,
    SIN_M: tl.constexpr,
    LOWEST_COSINE: tl.constexpr,
    DROP: tl.constexpr,
    MULTIPLE: tl.constexpr,
    LAMBDA_MIN: tl.constexpr,
    LAMBDA_MAX: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the first five terms of each row: its factor, and its target under the margin.

    ROWS is ``free`` for rows as they are, ``unit`` for the length SCALE, ``own`` for their own
    length: only a row shorter than 1e-12 is changed by that.
    """
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = rows < batch
    label = tl.load(labels + rows, mask=inside, other=0).to(tl.int64)
    product = tl.zeros([BLOCK_M], tl.float64)
    square, column_square = product, product
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        mask = inside[:, None] & (feature < dim)[None, :]
        row = tl.load(x + rows[:, None] * dim + feature[None, :], mask=mask, other=0.0)
        at = feature[None, :].to(tl.int64) * classes + label[:, None]
        column = tl.load(weight + at, mask=mask, other=0.0)
        row, column = row.to(tl.float64), column.to(tl.float64)
        product += tl.sum(row * column, 1)
        square += tl.sum(row * row, 1)
        column_square += tl.sum(column * column, 1)

    scale, _ = scale_of(tl.sqrt(column_square), COLUMNS)
    product *= scale
    length = tl.sqrt(square)
    held = tl.maximum(length, LEAST_LENGTH)
    short = length < LEAST_LENGTH
    radius = tl.maximum(length, LEAST_RADIUS)
    if ROWS == "unit":
        factor = SCALE / held
        radial = tl.where(short, 0.0, 1 / (radius * radius))
        reach = tl.zeros_like(length) + SCALE
    elif ROWS == "own":
        factor = length / held
        # The factor of a short row grows with its length.
        radial = tl.where(short, -1 / (radius * radius), 0.0)
        reach = length
    else:
        factor = tl.zeros_like(length) + 1
        radial = tl.zeros_like(length)
        reach = factor

    value, slope, bend = product, tl.zeros_like(product) + 1, tl.zeros_like(product)
    logit = product * factor
    if MARGIN != "none":
        cosine = tl.minimum(tl.maximum(product / held, -1.0), 1.0)
        if MARGIN == "additive":
            value, slope = additive(cosine, COS_M, SIN_M)
        elif MARGIN == "guarded":
            value, slope = guarded(cosine, COS_M, SIN_M, LOWEST_COSINE, DROP)
        else:
            blend = annealed(calls, LAMBDA_MIN, LAMBDA_MAX)
            value, slope = multiple(cosine, blend, MULTIPLE)
        logit = value * reach
        if ROWS == "own":
            bend = (value - cosine * slope) / radius
    store_term(terms, FACTOR, rows, batch, factor)
    store_term(terms, RADIAL, rows, batch, radial)
    store_term(terms, TARGET, rows, batch, logit * LOG2_E)
    store_term(terms, SLOPE, rows, batch, slope)
    store_term(terms, BEND, rows, batch, bend)
