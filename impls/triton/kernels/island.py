"""The operators of the island loss: each reads the centres once."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op

from lossbench.impls.triton.kernels.centers import launch_multiples, launch_squares
from lossbench.impls.triton.kernels.class_sums import launch_sums, sort_by_class, turn_of
from lossbench.impls.triton.kernels.differences import FEATURES, sum_all
from lossbench.impls.triton.kernels.launching import launch, sized

# The centres of a program, and the partial sums that a program adds at once.
CENTERS = sized(32, interpreted=16)
PARTS = sized(32, interpreted=16)
# The numbers that the last program adds at once; 1024 do not fit into its registers on sm_100.
NUMBERS = sized(512, interpreted=16)


@triton_op("lossbench_triton::island", mutates_args=())
def island(
    x: Tensor, centers: Tensor, labels: Tensor, factor: float, pair_weight: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the loss, its pull, ``1 / ‖c_j‖ [C]`` and the sum of all unit centres ``[D]``.

    Args:
        x: the rows, ``[B, D]``, contiguous.
        centers: the centres, ``[C, D]``, contiguous.
        labels: the labels, ``[B]``, contiguous.
        factor: the factor of the squared distances.
        pair_weight: the weight of ``cos(c_j, c_k) + 1`` of each pair.
    """
    classes, dim = centers.shape
    squares = launch_squares(x, centers, labels)
    tiles = triton.cdiv(classes, CENTERS)
    inverses = x.new_empty(classes, dtype=torch.float32)
    parts = x.new_empty((tiles, dim), dtype=torch.float32)
    launch(
        sum_units, (tiles,), centers, inverses, parts, classes, dim,
        BLOCK_M=CENTERS, BLOCK_K=FEATURES,
    )  # fmt: skip
    unit_sum = x.new_empty(dim, dtype=torch.float32)
    launch(
        add_parts, (triton.cdiv(dim, FEATURES),), parts, unit_sum, tiles, dim,
        BLOCK_M=PARTS, BLOCK_K=FEATURES,
    )  # fmt: skip
    loss, pull = (x.new_empty((), dtype=torch.float32) for _ in range(2))
    launch(
        finish_island, (1,), squares, unit_sum, loss, pull, x.size(0), dim, classes,
        factor, pair_weight, BLOCK=NUMBERS,
    )  # fmt: skip
    return loss, pull, inverses, unit_sum


@triton_op("lossbench_triton::island_backward", mutates_args=())
def island_backward(
    upstream: Tensor,
    pull: Tensor,
    x: Tensor,
    centers: Tensor,
    labels: Tensor,
    inverses: Tensor,
    unit_sum: Tensor,
    pair_weight: float,
    for_x: bool,
    for_centers: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``x`` and of ``centers``; one that is not wanted is empty.

    Args:
        upstream: the derivative by the loss, 0-d.
        pull: the pull of the samples, 0-d.
        x: the rows, ``[B, D]``.
        centers: the centres, ``[C, D]``.
        labels: the labels, ``[B]``.
        inverses: ``1 / ‖c_j‖``, ``[C]``.
        unit_sum: the sum of all unit centres, ``[D]``.
        pair_weight: the weight of ``cos(c_j, c_k) + 1`` of each pair.
        for_x: whether the gradient of ``x`` is wanted.
        for_centers: whether the gradient of the centres is wanted.
    """
    grad_x = torch.empty_like(x) if for_x else x.new_empty(0)
    if for_x:
        launch_multiples(x, centers, labels, pull, upstream, grad_x)
    if not for_centers:
        return grad_x, centers.new_empty(0)
    classes, dim = centers.shape
    grad_centers = torch.empty_like(centers)
    along = torch.empty_like(inverses)
    launch(
        turn_centers, (triton.cdiv(classes, CENTERS),),
        centers, inverses, unit_sum, upstream, along, grad_centers, classes, dim, pair_weight,
        BLOCK_M=CENTERS, BLOCK_K=FEATURES,
    )  # fmt: skip
    # The rows of the classes present are written again: their sums are rounded once.
    launch_sums(
        x, centers, sort_by_class(labels), pull, upstream, grad_centers, by_class=True,
        cosines=(inverses, along, unit_sum), pair_weight=pair_weight,
    )  # fmt: skip
    return grad_x, grad_centers


@triton.jit
def load_centers(centers, rows, feature, classes, dim):
    """Return a tile of ``centers [C, D]``, in float32."""
    mask = (rows < classes)[:, None] & (feature < dim)[None, :]
    tile = tl.load(centers + rows[:, None] * dim + feature[None, :], mask=mask, other=0.0)
    return tile.to(tl.float32)


@triton.jit
def sum_units(centers, inverses, parts, classes, dim, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr):
    """Write ``1 / ‖c_j‖`` of a few centres, and the sum of their unit vectors."""
    tile = tl.program_id(0).to(tl.int64)
    rows = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    squares = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for start in range(0, dim, BLOCK_K):
        center = load_centers(centers, rows, start + tl.arange(0, BLOCK_K), classes, dim)
        squares += center * center
    inverse = 1 / tl.sqrt(tl.where(rows < classes, tl.sum(squares, 1), 1.0))
    tl.store(inverses + rows, inverse, mask=rows < classes)
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        unit = load_centers(centers, rows, feature, classes, dim) * inverse[:, None]
        tl.store(parts + tile * dim + feature, tl.sum(unit, 0), mask=feature < dim)


@triton.jit
def add_parts(parts, unit_sum, tiles, dim, BLOCK_M: tl.constexpr, BLOCK_K: tl.constexpr):
    """Add the sums of all programs, in a fixed order."""
    feature = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    total = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for start in range(0, tiles, BLOCK_M):
        rows = start + tl.arange(0, BLOCK_M).to(tl.int64)
        total += load_centers(parts, rows, feature, tiles, dim)
    tl.store(unit_sum + feature, tl.sum(total, 0), mask=feature < dim)


@triton.jit
def finish_island(
    squares,
    unit_sum,
    loss,
    pull,
    batch,
    dim,
    classes,
    factor,
    pair_weight,
    BLOCK: tl.constexpr,
):
    """Write the loss and the pull.

    With s the sum of all unit centres, ``Σ_{j<k} (cos(c_j, c_k) + 1)`` is
    ``(‖s‖² - C) / 2 + C (C - 1) / 2``.
    """
    own = sum_all(squares, batch, BLOCK)
    length = tl.zeros([BLOCK], tl.float32)
    for start in range(0, dim, BLOCK):
        feature = start + tl.arange(0, BLOCK)
        part = tl.load(unit_sum + feature, mask=feature < dim, other=0.0)
        length += part * part
    count = tl.cast(classes, tl.float32)
    pairs = (tl.sum(length, 0) + count * (count - 2)) / 2
    tl.store(loss, factor * own + pair_weight * pairs)
    tl.store(pull, 2 * factor)


@triton.jit
def turn_centers(
    centers,
    inverses,
    unit_sum,
    upstream,
    along,
    gradient,
    classes,
    dim,
    pair_weight,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Write the gradient of the cosines of all centres, and ``(ĉ_j · s) / ‖c_j‖``."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    inverse = tl.load(inverses + rows, mask=rows < classes, other=0.0)
    products = tl.zeros([BLOCK_M, BLOCK_K], tl.float32)
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        shift = tl.load(unit_sum + feature, mask=feature < dim, other=0.0)
        products += load_centers(centers, rows, feature, classes, dim) * shift[None, :]
    part = tl.sum(products, 1) * inverse * inverse
    tl.store(along + rows, part, mask=rows < classes)
    weight = pair_weight * tl.load(upstream).to(tl.float32)
    for start in range(0, dim, BLOCK_K):
        feature = start + tl.arange(0, BLOCK_K)
        shift = tl.load(unit_sum + feature, mask=feature < dim, other=0.0)
        center = load_centers(centers, rows, feature, classes, dim)
        turn = turn_of(center, shift[None, :], part[:, None], inverse[:, None]) * weight
        mask = (rows < classes)[:, None] & (feature < dim)[None, :]
        tl.store(gradient + rows[:, None] * dim + feature[None, :], turn, mask=mask)
