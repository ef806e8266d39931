"""What the losses over all pairs of rows share."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lossbench.impls.triton.kernels.launching import launch, sized
from lossbench.impls.triton.kernels.tiles import is_far, load_tile

# The anchors that the one program of a sum adds at once.
ANCHORS = sized(1024, interpreted=16)
FEW, MANY = 16, 64


def launch_halves(x: Tensor, precision: str) -> Tensor:
    """Return half the squares of the rows' lengths, ``[B]``."""
    halves = x.new_empty(x.size(0), dtype=torch.float32)
    grid = (triton.cdiv(x.size(0), FEW),)
    launch(
        halve_squares, grid, x, halves, *x.shape, is_far(x.size(1)), precision,
        BLOCK_M=FEW, BLOCK_K=MANY,
    )  # fmt: skip
    return halves


@triton.jit
def load_rows(
    x,
    row,
    feature,
    row_end,
    dim,
    FAR: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    FEATURES: tl.constexpr,
):
    """Return a tile of ``x [B, D]``, rounded to bfloat16 if that is the precision."""
    tile = load_tile(x, row, feature, row_end, dim, dim, FAR, ROWS, FEATURES)
    return tile.to(tl.bfloat16) if PRECISION == "bf16" else tile


@triton.jit
def halve_squares(
    x,
    halves,
    batch,
    dim,
    FAR: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write ``‖x_j‖²/2`` of the rows as the products will see them."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_M
    squares = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for start in range(0, dim, BLOCK_K):
        tile = load_rows(x, row, start, batch, dim, FAR, PRECISION, BLOCK_M, BLOCK_K)
        squares += tile.to(tl.float32) * tile.to(tl.float32)
    rows = row + tl.arange(0, BLOCK_M)
    tl.store(halves + rows, tl.sum(squares, 1) * 0.5, mask=rows < batch)


@triton.jit
def reduce_anchors(losses, correct, loss, count, batch, BLOCK: tl.constexpr):
    """Write the mean loss and the number of correct anchors, in one program and a fixed order."""
    total = tl.zeros([BLOCK], tl.float32)
    number = tl.zeros([BLOCK], tl.int32)
    for start in range(0, batch, BLOCK):
        rows = start + tl.arange(0, BLOCK)
        total += tl.load(losses + rows, mask=rows < batch, other=0.0)
        number += tl.load(correct + rows, mask=rows < batch, other=0)
    tl.store(loss, tl.sum(total, 0) / batch)
    tl.store(count, tl.sum(number, 0).to(tl.int64))
