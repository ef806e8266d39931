"""What the losses over all pairs of rows share."""

import triton
import triton.language as tl

from lossbench.impls.triton.kernels.launching import sized

# The anchors that the one program of a sum adds at once.
ANCHORS = sized(1024, interpreted=16)


@triton.jit
def load_rows(x, rows, feature, batch, dim, PRECISION: tl.constexpr):
    """Return a tile of ``x [B, D]``, rounded to bfloat16 if that is the precision."""
    mask = (rows < batch)[:, None] & (feature < dim)[None, :]
    tile = tl.load(x + rows[:, None] * dim + feature[None, :], mask=mask, other=0.0)
    return tile.to(tl.bfloat16) if PRECISION == "bf16" else tile


@triton.jit
def halve_squares(
    x,
    halves,
    batch,
    dim,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write ``‖x_j‖²/2`` of the rows as the products will see them."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    squares = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        tile = load_rows(x, rows, feature, batch, dim, PRECISION).to(tl.float32)
        squares += tile * tile
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
