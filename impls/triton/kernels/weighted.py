"""The operators of the weighted triplet losses, forward and backward."""

import torch
import triton
from torch import Tensor
from torch.library import triton_op

from lossbench.impls.precision import FEW_FEATURES
from lossbench.impls.triton.kernels.launching import ROW_TILE, launch, sized
from lossbench.impls.triton.kernels.rows import ANCHORS, launch_halves, reduce_anchors
from lossbench.impls.triton.kernels.tiles import is_far
from lossbench.impls.triton.kernels.weighting import LINES, SUMS, finish_anchors, sum_weights
from lossbench.impls.triton.kernels.weighting_gradient import add_slots, pull_pairs
from lossbench.impls.triton.precision import NOISE, product_precision

# A batch is summed in at most this many spans of columns; a span is a multiple of these columns.
SPANS = sized(16, interpreted=3)
SPAN_COLUMNS = sized(128, interpreted=16)
# The parts of the sum that the gradient is.
SLOTS = 4
ELEMENTS = 1024


@triton_op("lossbench_triton::weighted", mutates_args=())
def weighted(
    x: Tensor, labels: Tensor, epsilon: float, shifted: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the loss, the number of correct anchors, and what the backward pass needs.

    These are the numbers of the anchors, their furthest positives, and the rows' half squares.

    Args:
        x: the embeddings, ``[B, D]``, contiguous.
        labels: the labels, ``[B]``, contiguous.
        epsilon: the number added to the sums of the weights.
        shifted: whether to subtract the closest negative's distance before the exponential.
    """
    batch, dim = x.shape
    precision = product_precision(x.dtype)
    halves = launch_halves(x, precision)
    span = SPAN_COLUMNS * triton.cdiv(batch, SPAN_COLUMNS * SPANS)
    splits = triton.cdiv(batch, span)
    sums = x.new_empty((splits, SUMS, batch), dtype=torch.float32)
    found = x.new_empty((splits, batch), dtype=torch.int32)
    launch(
        sum_weights, lambda meta: (triton.cdiv(batch, meta["BLOCK_M"]), splits),
        x, labels, halves, sums, found, batch, dim, span,
        SHIFTED=shifted, FEW=dim <= FEW_FEATURES, FAR=is_far(dim),
        NOISE=NOISE[precision], PRECISION=precision,
    )  # fmt: skip
    anchors = x.new_empty((LINES, batch), dtype=torch.float32)
    furthest = x.new_empty(batch, dtype=torch.int32)
    losses = x.new_empty(batch, dtype=torch.float32)
    correct = x.new_empty(batch, dtype=torch.int32)
    launch(
        finish_anchors, (triton.cdiv(batch, ROW_TILE),),
        sums, found, anchors, furthest, losses, correct, batch, splits,
        EPSILON=epsilon, SHIFTED=shifted, BLOCK_M=ROW_TILE,
    )  # fmt: skip
    loss = x.new_empty((), dtype=torch.float32)
    count = x.new_empty((), dtype=torch.int64)
    launch(reduce_anchors, (1,), losses, correct, loss, count, batch, BLOCK=ANCHORS)
    return loss, count, anchors, furthest, halves


@triton_op("lossbench_triton::weighted_backward", mutates_args=())
def weighted_backward(
    upstream: Tensor,
    x: Tensor,
    labels: Tensor,
    anchors: Tensor,
    furthest: Tensor,
    halves: Tensor,
    epsilon: float,
) -> Tensor:
    """Return the gradient of ``x``.

    Args:
        upstream: the derivative by the loss, 0-d.
        x: the embeddings, ``[B, D]``.
        labels: the labels, ``[B]``.
        anchors: the numbers of the anchors.
        furthest: the furthest positive of each anchor, ``[B]``.
        halves: half the squares of the rows' lengths, ``[B]``.
        epsilon: the number added to the sums of the weights.
    """
    batch, dim = x.shape
    precision = product_precision(x.dtype)
    slots = x.new_empty((SLOTS, batch, dim), dtype=torch.float32)
    launch(
        pull_pairs,
        lambda meta: (
            triton.cdiv(batch, meta["BLOCK_M"]),
            triton.cdiv(dim, meta["BLOCK_D"]),
            SLOTS,
        ),
        x, labels, halves, anchors, furthest, slots, batch, dim, triton.cdiv(batch, SLOTS),
        EPSILON=epsilon, FEW=dim <= FEW_FEATURES, FAR=is_far(dim),
        NOISE=NOISE[precision], PRECISION=precision,
        # The derivatives are float32, and a TF32 factor holds every digit of half precision.
        PULL_PRECISION=precision if x.dtype == torch.float32 else "tf32",
    )  # fmt: skip
    gradient = torch.empty_like(x)
    grid = (triton.cdiv(batch * dim, ELEMENTS),)
    launch(add_slots, grid, slots, upstream, gradient, batch * dim, SLOTS=SLOTS, BLOCK=ELEMENTS)
    return gradient
