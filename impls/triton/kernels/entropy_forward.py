"""The sums of a cross-entropy over class tiles: no more than a tile of scores exists at once."""

import triton
import triton.language as tl

from lossbench.impls.triton.kernels.entropy_terms import (
    FACTOR,
    HIGHEST,
    LN_2,
    LOG2_E,
    MISS,
    SHARE,
    TARGET,
    load_term,
    store_term,
)
from lossbench.impls.triton.kernels.launching import config, tuned
from lossbench.impls.triton.kernels.products import add_product
from lossbench.impls.triton.kernels.tiles import load_tile

# Below any score, and finite, so that the difference of two of them is no NaN.
LOWEST = tl.constexpr(-3.0e38)


@triton.jit
def multiply(
    x,
    weight,
    row,
    column,
    last,
    batch,
    dim,
    classes,
    FAR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Return the products of ``x [B, D]`` from a row on and ``weight [D, C]`` from a column on.

    Columns from ``last`` on are not read. Two inputs of different dtypes are multiplied in float32.
    """
    products = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, dim, BLOCK_K):
        rows = load_tile(x, row, start, batch, dim, dim, FAR, BLOCK_M, BLOCK_K)
        columns = load_tile(weight, start, column, dim, last, classes, FAR, BLOCK_K, BLOCK_N)
        if rows.dtype != columns.dtype:
            rows, columns = rows.to(tl.float32), columns.to(tl.float32)
        products = add_product(products, rows, columns, PRECISION)
    return products


@triton.jit
def score(products, terms, rows, batch, columns, column, last, SCALED: tl.constexpr):
    """Return the scores of products, in units of log 2; both passes round them alike."""
    scores = products * (load_term(terms, FACTOR, rows, batch) * LOG2_E)[:, None]
    if SCALED:
        scores *= tl.load(columns + column, mask=column < last, other=0.0)[None, :]
    return scores


@tuned(
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=32),
    config(4, 4, BLOCK_M=64, BLOCK_N=128, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=128, BLOCK_K=64),
    config(8, 3, BLOCK_M=128, BLOCK_N=256, BLOCK_K=64),
    small=config(4, 3, BLOCK_M=64, BLOCK_N=128, BLOCK_K=16),
    odd=config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=16),
    key=("dim", "classes", "PRECISION"),
)
@triton.jit
def sum_classes(
    x,
    weight,
    labels,
    terms,
    columns,
    class_weights,
    sums,
    batch,
    dim,
    classes,
    span,
    SCALED: tl.constexpr,
    SPREAD: tl.constexpr,
    FAR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Sum the powers of the scores of ``span`` classes, for each row, the target's left out.

    A target subtracted later would cancel digits where it dominates, so it is never added.
    ``sums [splits, 3, B]`` gets the highest score, the sum of ``2^(score - highest)`` and, if
    SPREAD, the sum of the scores times their class weights.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK_M
    rows = row + tl.arange(0, BLOCK_M)
    split = tl.program_id(1).to(tl.int64)
    inside = rows < batch
    label = tl.load(labels + rows, mask=inside, other=0).to(tl.int64)
    highest = tl.full([BLOCK_M], LOWEST, tl.float32)
    amount = tl.zeros([BLOCK_M], tl.float32)
    spread = tl.zeros([BLOCK_M], tl.float32)
    last = tl.minimum((split + 1) * span, classes)
    for first in range(split * span, last, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N).to(tl.int64)
        products = multiply(
            x, weight, row, first, last, batch, dim, classes,
            FAR, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        scores = score(products, terms, rows, batch, columns, column, last, SCALED)
        place = tl.arange(0, BLOCK_N)
        own = (label - first).to(tl.int32)
        others = (column < last)[None, :] & (place[None, :] != own[:, None])
        if SPREAD:
            weights = tl.load(class_weights + column, mask=column < last, other=0.0)
            spread += tl.sum(tl.where(others, scores, 0.0) * weights[None, :], 1)
        scores = tl.where(others, scores, LOWEST)
        top = tl.maximum(highest, tl.max(scores, 1))
        powers = tl.where(others, tl.exp2(scores - top[:, None]), 0.0)
        amount = amount * tl.exp2(highest - top) + tl.sum(powers, 1)
        highest = top
    line = sums + split * 3 * batch + rows
    tl.store(line, highest, mask=inside)
    tl.store(line + batch, amount, mask=inside)
    if SPREAD:
        tl.store(line + 2 * batch, spread, mask=inside)


@triton.jit
def add_splits(sums, rows, batch, splits, SPREAD: tl.constexpr, BLOCK_M: tl.constexpr):
    """Return the highest score of some rows, the sum of the powers before it, and the spread."""
    inside = rows < batch
    highest = tl.full([BLOCK_M], LOWEST, tl.float32)
    amount = tl.zeros([BLOCK_M], tl.float32)
    spread = tl.zeros([BLOCK_M], tl.float32)
    for split in range(splits):
        line = sums + tl.cast(split, tl.int64) * 3 * batch + rows
        one = tl.load(line, mask=inside, other=0.0)
        top = tl.maximum(highest, one)
        part = tl.load(line + batch, mask=inside, other=0.0)
        amount = amount * tl.exp2(highest - top) + part * tl.exp2(one - top)
        highest = top
        if SPREAD:
            spread += tl.load(line + 2 * batch, mask=inside, other=0.0)
    return highest, amount, spread


@triton.jit
def finish_losses(
    sums,
    labels,
    class_weights,
    total_weight,
    terms,
    losses,
    spreads,
    batch,
    splits,
    SPREAD: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Add the splits and the target: write the losses, the spreads, and the last three terms.

    A loss is ``-log p`` of the target. A spread, for label smoothing, is the sum of ``-log p`` of
    all classes times their weights.
    """
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = rows < batch
    highest, amount, spread = add_splits(sums, rows, batch, splits, SPREAD, BLOCK_M)
    target = load_term(terms, TARGET, rows, batch)
    # float64 keeps the digits of the difference of two large numbers.
    rest = tl.where(amount == 0, LOWEST, tl.log2(amount.to(tl.float64)))
    gap = ((highest.to(tl.float64) - target) + rest) * LN_2
    power = tl.exp(-tl.abs(gap))
    miss = tl.where(gap > 0, 1.0, power) / (1 + power)
    tl.store(losses + rows, (tl.maximum(gap, 0.0) + log1p(power)).to(tl.float32), mask=inside)
    top = tl.maximum(highest, target)
    amount = amount * tl.exp2(highest - top) + tl.exp2(target - top)
    store_term(terms, HIGHEST, rows, batch, top)
    store_term(terms, SHARE, rows, batch, 1 / amount)
    store_term(terms, MISS, rows, batch, miss)
    if SPREAD:
        label = tl.load(labels + rows, mask=inside, other=0).to(tl.int64)
        weight = tl.load(class_weights + label, mask=inside, other=0.0)
        whole = (top + tl.log2(amount)) * tl.load(total_weight)
        tl.store(spreads + rows, (whole - spread - weight * target) * LN_2, mask=inside)


@triton.jit
def log1p(power):
    """Return ``log(1 + power)`` of float64, exact for small powers too (Goldberg's identity)."""
    whole = 1 + power
    exact = whole == 1
    return tl.where(exact, power, tl.log(whole) * power / tl.where(exact, 1.0, whole - 1))
