"""The operators of the contrastive losses; ``centers.pull_apart`` is their backward pass."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op

from lossbench.impls.triton.kernels.centers import launch_squares
from lossbench.impls.triton.kernels.differences import FEATURES, NUMBERS, ROWS, subtract, sum_all
from lossbench.impls.triton.kernels.launching import launch


@triton_op("lossbench_triton::contrastive", mutates_args=())
def contrastive(x0: Tensor, x1: Tensor, same: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Return the mean loss of all pairs, and their pulls ``[B]``.

    Args:
        x0: the first samples, ``[B, D]``, contiguous.
        x1: the second samples, ``[B, D]``, contiguous.
        same: 1 for a similar pair, 0 for another; float32 ``[B]``, contiguous.
        margin: the margin.
    """
    batch, dim = x0.shape
    losses, pulls = (x0.new_empty(batch, dtype=torch.float32) for _ in range(2))
    launch(
        measure_pairs, (triton.cdiv(batch, ROWS),), x0, x1, same, losses, pulls,
        batch, dim, margin, BLOCK_M=ROWS, BLOCK_K=FEATURES,
    )  # fmt: skip
    loss = x0.new_empty((), dtype=torch.float32)
    launch(average, (1,), losses, loss, batch, BLOCK=NUMBERS)
    return loss, pulls


@triton_op("lossbench_triton::contrastive_whole_batch", mutates_args=())
def contrastive_whole_batch(
    x0: Tensor, x1: Tensor, same: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Return the loss and the pull of one distance of the whole batch, both 0-d.

    The loss is linear in the labels, so their mean is enough.

    Args:
        x0: the first samples, ``[B, D]``, contiguous.
        x1: the second samples, ``[B, D]``, contiguous.
        same: 1 for a similar pair, 0 for another; float32 ``[B]``, contiguous.
        margin: the margin.
    """
    squares = launch_squares(x0, x1, None)
    loss, pull = (x0.new_empty((), dtype=torch.float32) for _ in range(2))
    launch(measure_batch, (1,), squares, same, loss, pull, len(squares), margin, BLOCK=NUMBERS)
    return loss, pull


@triton.jit
def hinge(distance, same, margin):
    """Return ``½ (s d² + (1 - s) max(0, m - d)²)`` and its derivative over d; 0 at d = 0."""
    shortfall = tl.maximum(margin - distance, 0.0)
    loss = (same * distance * distance + (1 - same) * shortfall * shortfall) / 2
    push = tl.where(distance > 0, shortfall / distance, 0.0)
    return loss, same - (1 - same) * push


@triton.jit
def measure_pairs(
    x0,
    x1,
    same,
    losses,
    pulls,
    batch,
    dim,
    margin,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the loss of each pair, and the pull in the mean of all."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = rows < batch
    squares = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for start in range(0, dim, BLOCK_K):
        difference = subtract(x0, x1, None, rows, start + tl.arange(0, BLOCK_K), batch, dim)
        squares += difference * difference
    similar = tl.load(same + rows, mask=inside, other=0.0)
    loss, pull = hinge(tl.sqrt(tl.sum(squares, 1)), similar, margin)
    tl.store(losses + rows, loss, mask=inside)
    tl.store(pulls + rows, pull / batch, mask=inside)


@triton.jit
def average(losses, loss, batch, BLOCK: tl.constexpr):
    """Write the mean of the losses."""
    tl.store(loss, sum_all(losses, batch, BLOCK) / batch)


@triton.jit
def measure_batch(squares, same, loss, pull, batch, margin, BLOCK: tl.constexpr):
    """Write the loss and the pull of the distance of the whole batch."""
    distance = tl.sqrt(sum_all(squares, batch, BLOCK))
    value, slope = hinge(distance, sum_all(same, batch, BLOCK) / batch, margin)
    tl.store(loss, value)
    tl.store(pull, slope)
