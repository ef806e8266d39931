"""The operators of the centre loss over all pairs of a sample and a label of the batch.

A ``table [K, D]`` has the centres of the distinct labels, K being the smaller of B and C. No size
depends on the labels: the rows beyond the distinct labels have count 0.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op

from lossbench.impls import formulas
from lossbench.impls.precision import FEW_FEATURES
from lossbench.impls.triton.kernels.centers import launch_multiples, launch_squares
from lossbench.impls.triton.kernels.class_sums import SortedClasses, launch_sums, sort_by_class
from lossbench.impls.triton.kernels.differences import NUMBERS, sum_all
from lossbench.impls.triton.kernels.distances import measure_squares
from lossbench.impls.triton.kernels.launching import config, launch, sized, tuned
from lossbench.impls.triton.kernels.pairwise import launch_pulls
from lossbench.impls.triton.kernels.rows import launch_halves
from lossbench.impls.triton.kernels.tiles import is_far, tile_of
from lossbench.impls.triton.precision import NOISE, product_precision

ADDED_SQUARE = tl.constexpr(formulas.ADDED_SQUARE)
# The table is read in at most this many spans, each a multiple of these rows.
SPANS = sized(16, interpreted=3)
SPAN_ROWS = sized(64, interpreted=16)


@triton_op("lossbench_triton::all_pairs", mutates_args=())
def all_pairs(
    x: Tensor, centers: Tensor, labels: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the loss, and what the backward pass needs.

    This is the table, its labels, each sample's row of it, the pulls of all pairs ``[B, K]`` but
    those of a sample and its own centre, these ``[B]``, and the batch in the order of its classes,
    a class being a row of the table.

    Args:
        x: the embeddings, ``[B, D]``, contiguous.
        centers: the centres, ``[C, D]``, contiguous and of the same dtype.
        labels: the labels, ``[B]``, int64, contiguous.
        keep: whether the pulls of all pairs are kept; else they are empty.
    """
    batch, dim = x.shape
    distinct, counts, own, ordered = _table_of(labels, len(centers))
    table = centers.index_select(0, distinct)
    size = len(distinct)
    squares = launch_squares(x, table, own)
    precision = product_precision(x.dtype)
    halves = launch_halves(x, precision), launch_halves(table, precision)
    span = SPAN_ROWS * triton.cdiv(size, SPAN_ROWS * SPANS)
    splits = triton.cdiv(size, span)
    parts = x.new_empty((splits, batch), dtype=torch.float32)
    pulls = x.new_empty((batch if keep else 0, size), dtype=torch.float32)
    own_pulls = x.new_empty(batch, dtype=torch.float32)
    launch(
        sum_distances, lambda meta: (triton.cdiv(batch, meta["BLOCK_M"]), splits),
        x, table, *halves, squares, own, counts, parts, pulls if keep else None,
        own_pulls, batch, size, dim, span,
        FEW=dim <= FEW_FEATURES, FAR=is_far(dim, size), NOISE=NOISE[precision], PRECISION=precision,
    )  # fmt: skip
    loss = x.new_empty((), dtype=torch.float32)
    launch(halve_mean, (1,), parts, loss, parts.numel(), batch, BLOCK=NUMBERS)
    return loss, table, distinct, own, pulls, own_pulls, *ordered


def _table_of(labels: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor, SortedClasses]:
    """Return distinct labels ``[K]``, their counts, the place of each sample's, and the order."""
    ordered = sort_by_class(labels)
    ranks = (ordered.classes.diff(prepend=ordered.classes[:1]) != 0).cumsum(0)
    size = min(len(labels), classes)
    # Each of these is written with equal values, or adds integers, so that the order is irrelevant.
    distinct = labels.new_zeros(size).scatter_(0, ranks, ordered.classes)
    counts = labels.new_zeros(size).scatter_add_(0, ranks, torch.ones_like(ranks))
    own = torch.empty_like(ranks).scatter_(0, ordered.order, ranks)
    return distinct, counts, own, SortedClasses(ranks, ordered.order, ordered.stops)


@triton_op("lossbench_triton::all_pairs_backward", mutates_args=())
def all_pairs_backward(
    upstream: Tensor,
    x: Tensor,
    table: Tensor,
    distinct: Tensor,
    own: Tensor,
    pulls: Tensor,
    own_pulls: Tensor,
    ranks: Tensor,
    order: Tensor,
    stops: Tensor,
    classes: int,
    for_x: bool,
    for_centers: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``x`` and of the centres; one that is not wanted is empty.

    A sample's own centre may be so close that a product would lose the digits of their difference:
    its pull is computed from the difference, and added.

    Args:
        upstream: the derivative by the loss, 0-d.
        x: the embeddings, ``[B, D]``.
        table: the centres of the distinct labels, ``[K, D]``.
        distinct: the distinct labels, ``[K]``.
        own: each sample's row of the table, ``[B]``.
        pulls: the pulls of all pairs, ``[B, K]``.
        own_pulls: the pulls of the samples and their own centres, ``[B]``.
        ranks: the row of the table at each place of the order, ``[B]``.
        order: the sample at each place, ``[B]``.
        stops: the place after the last of each place's class, ``[B]``.
        classes: the number of classes.
        for_x: whether the gradient of ``x`` is wanted.
        for_centers: whether the gradient of the centres is wanted.
    """
    dim = table.size(1)
    grad_x = torch.empty_like(x) if for_x else x.new_empty(0)
    if for_x:
        rest = torch.empty_like(x, dtype=torch.float32)
        launch_multiples(x, table, own, own_pulls, None, rest)
        launch_pulls(x, table, pulls, grad_x, upstream=upstream, others=rest)
    if not for_centers:
        return grad_x, table.new_empty(0)
    rest = torch.zeros_like(table, dtype=torch.float32)
    ordered = SortedClasses(ranks, order, stops)
    launch_sums(x, table, ordered, own_pulls, None, rest, by_class=True)
    grad_table = torch.empty_like(table)
    launch_pulls(table, x, pulls, grad_table, transposed=True, upstream=upstream, others=rest)
    # Rows beyond the distinct labels are 0, so that no order of addition changes a sum.
    return grad_x, table.new_zeros((classes, dim)).index_add_(0, distinct, grad_table)


@tuned(
    config(8, 3, BLOCK_M=64, BLOCK_N=64, BLOCK_K=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=64, BLOCK_K=32),
    small=config(4, 3, BLOCK_M=64, BLOCK_N=64, BLOCK_K=16),
    odd=config(8, 3, BLOCK_M=64, BLOCK_N=64, BLOCK_K=16),
    key=("dim", "PRECISION"),
)
@triton.jit
def sum_distances(
    x,
    table,
    x_halves,
    table_halves,
    own_squares,
    own,
    counts,
    parts,
    pulls,
    own_pulls,
    batch,
    size,
    dim,
    span,
    FEW: tl.constexpr,
    FAR: tl.constexpr,
    NOISE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Sum the distances of each row to ``span`` rows of the table: ``parts [splits, B]``.

    Writes ``pulls [B, K]`` if they are kept, 0 for a row's own centre; that is added by the first
    span, by ``own_squares``, and its pull goes to ``own_pulls [B]``.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK_M
    rows = row + tl.arange(0, BLOCK_M)
    split = tl.program_id(1).to(tl.int64)
    inside = rows < batch
    own_column = tl.load(own + rows, mask=inside, other=-1)
    last = tl.minimum((split + 1) * span, size)
    total = tl.zeros([BLOCK_M], tl.float32)
    if split == 0:
        distance = tl.sqrt(tl.load(own_squares + rows, mask=inside, other=0.0) + ADDED_SQUARE)
        count = tl.load(counts + own_column, mask=inside, other=0).to(tl.float32)
        total += count * distance
        tl.store(own_pulls + rows, count / (2 * distance * batch), mask=inside)
    own_column = own_column.to(tl.int32)
    for first in range(split * span, last, BLOCK_N):
        column = first + tl.arange(0, BLOCK_N)
        within = column < last
        squares = measure_squares(
            x, table, x_halves, table_halves, row, first, batch, last, dim,
            False, FEW, FAR, NOISE, PRECISION, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        distance = tl.sqrt(squares + ADDED_SQUARE)
        count = tl.load(counts + column, mask=within, other=0).to(tl.float32)
        is_own = own_column[:, None] == column.to(tl.int32)[None, :]
        weight = tl.where(is_own, 0.0, count[None, :])
        total += tl.sum(weight * distance, 1)
        if pulls is not None:
            at, mask = tile_of(pulls, row, first, batch, last, size, FAR, BLOCK_M, BLOCK_N)
            tl.store(at, weight / (2 * distance * batch), mask=mask)
    tl.store(parts + split * batch + rows, total, mask=inside)


@triton.jit
def halve_mean(parts, loss, count, batch, BLOCK: tl.constexpr):
    """Write half the sum of all parts over the batch."""
    tl.store(loss, sum_all(parts, count, BLOCK) / (2 * batch))
