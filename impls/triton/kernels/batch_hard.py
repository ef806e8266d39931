"""The operators of the batch-hard triplet loss, forward and backward."""

import torch
import triton
from torch import Tensor
from torch.library import triton_op

from lossbench.impls.triton.kernels.launching import launch, sized
from lossbench.impls.triton.kernels.mining import measure_partners, mine, pull_rows
from lossbench.impls.triton.kernels.rows import ANCHORS, launch_halves, reduce_anchors
from lossbench.impls.triton.kernels.tiles import is_far
from lossbench.impls.triton.precision import mining_precision

# A batch is mined in at most this many spans of columns, since tiles of rows alone do not fill a
# chip; a span is a multiple of these columns.
SPANS = sized(16, interpreted=3)
SPAN_COLUMNS = sized(128, interpreted=16)
FEW, MANY = 16, 64


@triton_op("lossbench_triton::batch_hard", mutates_args=())
def batch_hard(x: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the loss, the number of correct anchors, the partners and the pulls.

    Args:
        x: the embeddings, ``[B, D]``, contiguous.
        labels: the labels, ``[B]``, contiguous.
        margin: the margin.
    """
    batch, dim = x.shape
    precision = mining_precision(x.dtype)
    rows = (triton.cdiv(batch, FEW),)
    halves = launch_halves(x, precision)
    span = SPAN_COLUMNS * triton.cdiv(batch, SPAN_COLUMNS * SPANS)
    splits = triton.cdiv(batch, span)
    scores = x.new_empty((splits, 2, batch), dtype=torch.float32)
    found = x.new_empty((splits, 2, batch), dtype=torch.int32)
    launch(
        mine, lambda meta: (triton.cdiv(batch, meta["BLOCK_M"]), splits),
        x, labels, halves, scores, found, batch, dim, span,
        FAR=is_far(dim), PRECISION=precision,
    )  # fmt: skip
    partners = x.new_empty((2, batch), dtype=torch.int32)
    pulls = x.new_empty((2, batch), dtype=torch.float32)
    hinges = x.new_empty(batch, dtype=torch.float32)
    correct = x.new_empty(batch, dtype=torch.int32)
    launch(
        measure_partners, rows, x, scores, found, partners, pulls, hinges, correct,
        batch, dim, splits, margin, BLOCK_M=FEW, BLOCK_K=MANY,
    )  # fmt: skip
    loss = x.new_empty((), dtype=torch.float32)
    count = x.new_empty((), dtype=torch.int64)
    launch(reduce_anchors, (1,), hinges, correct, loss, count, batch, BLOCK=ANCHORS)
    return loss, count, partners, pulls


@triton_op("lossbench_triton::batch_hard_backward", mutates_args=())
def batch_hard_backward(upstream: Tensor, x: Tensor, partners: Tensor, pulls: Tensor) -> Tensor:
    """Return the gradient of ``x``.

    Args:
        upstream: the derivative by the loss, 0-d.
        x: the embeddings, ``[B, D]``.
        partners: each row's furthest positive, then its closest negative, ``[2, B]``.
        pulls: the derivatives by their distances, over the distances, ``[2, B]``.
    """
    batch, dim = x.shape
    ranked, order = torch.sort(partners.flatten(), stable=True)
    numbers = torch.arange(batch + 1, device=x.device, dtype=torch.int32)
    starts = torch.searchsorted(ranked, numbers, out_int32=True)
    gradient = torch.empty_like(x)
    block = min(triton.next_power_of_2(dim), 512)
    launch(
        pull_rows, (batch, triton.cdiv(dim, block)),
        x, partners, pulls, order, starts, upstream, gradient, batch, dim,
        BLOCK_E=FEW, BLOCK_K=block,
    )  # fmt: skip
    return gradient
