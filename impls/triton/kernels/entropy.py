"""The operators of the cross-entropy over a linear layer, forward and backward."""

import torch
import triton
from torch import Tensor
from torch.library import triton_op

from lossbench.impls.triton.kernels.entropy_forward import finish_losses, sum_classes
from lossbench.impls.triton.kernels.entropy_gradients import add_to_rows, finish_rows, write_weight
from lossbench.impls.triton.kernels.entropy_scores import derive_scores
from lossbench.impls.triton.kernels.entropy_terms import TERMS, find_targets, scale_columns
from lossbench.impls.triton.kernels.launching import ROW_TILE, launch, sized
from lossbench.impls.triton.kernels.tiles import is_far
from lossbench.impls.triton.precision import product_precision

# At most this many splits of the classes fill any chip; a split is a multiple of these classes.
SPLITS = sized(512, interpreted=2)
SPLIT_CLASSES = sized(256, interpreted=16)
# The classes of a block of the backward pass, which holds [B, block] derivatives: large products
# that keep a chip busy, and a number of launches that does not depend on the batch.
BLOCK_CLASSES = sized(8192, interpreted=32)
# Rows of derivatives begin at a multiple of this, as wide loads and asynchronous copies need.
ALIGNED = 16
# The parts of the sum that the rows' gradient is.
SLOTS = 4
# The classes and the features of a tile of a column's or row's own kernel.
FEW, MANY = 16, 64


@triton_op("lossbench_triton::cross_entropy", mutates_args=())
def cross_entropy(
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    class_weights: Tensor | None,
    calls: Tensor | None,
    columns: str,
    rows: str,
    margin: str,
    numbers: list[float],
    multiple: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the losses ``[B]``, the spreads, and the terms of the rows and the columns.

    Args:
        x: the embeddings, ``[B, D]``, contiguous.
        weight: the class weights, ``[D, C]``, contiguous.
        labels: the labels, ``[B]``.
        class_weights: the weights ``[C]`` of the classes in a spread; ``None`` for no spreads.
        calls: the number of calls, which anneals a multiplicative margin.
        columns: the rule that scales the columns: ``free``, ``unit`` or ``max_norm``.
        rows: the rule that scales the rows: ``free``, ``unit`` or ``own``.
        margin: ``none``, ``additive``, ``guarded`` or ``multiple``.
        numbers: scale, cos m, sin m, the guard's lowest cosine and its drop, λ's minimum and
            maximum.
        multiple: the multiplicative margin.
    """
    batch, (dim, classes) = x.size(0), weight.shape
    spread = class_weights is not None
    terms = x.new_empty((TERMS, batch), dtype=torch.float32)
    scales = launch_scales(weight, columns)
    scale, cos_m, sin_m, lowest_cosine, drop, lambda_min, lambda_max = numbers
    launch(
        find_targets, (triton.cdiv(batch, FEW),), x, weight, labels, calls, terms,
        batch, dim, classes,
        COLUMNS=columns, ROWS=rows, MARGIN=margin, SCALE=scale, COS_M=cos_m, SIN_M=sin_m,
        LOWEST_COSINE=lowest_cosine, DROP=drop, MULTIPLE=multiple,
        LAMBDA_MIN=lambda_min, LAMBDA_MAX=lambda_max, BLOCK_M=FEW, BLOCK_K=MANY,
    )  # fmt: skip
    sums = launch_sums(x, weight, labels, class_weights, terms, scales)
    losses = x.new_empty(batch, dtype=torch.float32)
    spreads = x.new_empty(batch if spread else 0, dtype=torch.float32)
    total = class_weights.sum() if class_weights is not None else None
    launch(
        finish_losses, (triton.cdiv(batch, ROW_TILE),),
        sums, labels, class_weights, total, terms, losses, spreads, batch, sums.size(0),
        SPREAD=spread, BLOCK_M=ROW_TILE,
    )  # fmt: skip
    return losses, spreads, terms, scales


def launch_scales(weight: Tensor, columns: str) -> Tensor:
    """Return the terms of the columns, ``[2, C]``; ``[2, 0]`` where they are free."""
    dim, classes = weight.shape
    scales = weight.new_empty((2, 0 if columns == "free" else classes), dtype=torch.float32)
    if columns != "free":
        launch(
            scale_columns, (triton.cdiv(classes, MANY),), weight, scales, dim, classes,
            COLUMNS=columns, BLOCK_N=MANY, BLOCK_K=FEW,
        )  # fmt: skip
    return scales


def launch_sums(
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    class_weights: Tensor | None,
    terms: Tensor,
    scales: Tensor,
) -> Tensor:
    """Return the sums of all splits of the classes, ``[splits, 3, B]``."""
    batch, (dim, classes) = x.size(0), weight.shape
    span = SPLIT_CLASSES * triton.cdiv(classes, SPLIT_CLASSES * SPLITS)
    splits = triton.cdiv(classes, span)
    sums = x.new_empty((splits, 3, batch), dtype=torch.float32)
    launch(
        sum_classes, lambda meta: (triton.cdiv(batch, meta["BLOCK_M"]), splits),
        x, weight, labels, terms, scales, class_weights, sums, batch, dim, classes, span,
        SCALED=scales.size(1) > 0, SPREAD=class_weights is not None, FAR=is_far(dim, classes),
        PRECISION=product_precision(_common(x, weight)),
    )  # fmt: skip
    return sums


@triton_op("lossbench_triton::cross_entropy_backward", mutates_args=())
def cross_entropy_backward(
    upstream: Tensor,
    spread_upstream: Tensor | None,
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    class_weights: Tensor | None,
    terms: Tensor,
    scales: Tensor,
    rows: str,
    for_x: bool,
    for_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``x`` and of ``weight``; one that is not wanted is empty.

    Args:
        upstream: the derivatives by the losses, ``[B]``, contiguous.
        spread_upstream: the derivatives by the spreads, ``[B]``, contiguous.
        x: the embeddings, ``[B, D]``.
        weight: the class weights, ``[D, C]``.
        labels: the labels, ``[B]``.
        class_weights: the weights of the classes in a spread, ``[C]``.
        terms: the terms of the rows.
        scales: the terms of the columns.
        rows: the rule that scales the rows.
        for_x: whether the gradient of ``x`` is wanted.
        for_weight: whether the gradient of ``weight`` is wanted.
    """
    total = class_weights.sum() if class_weights is not None else None
    given = (upstream, spread_upstream, x, weight, labels, class_weights, total, terms, scales)
    return launch_backward(*given, rows, for_x=for_x, for_weight=for_weight)


def launch_backward(
    upstream: Tensor,
    spread_upstream: Tensor | None,
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    class_weights: Tensor | None,
    total: Tensor | None,
    terms: Tensor,
    scales: Tensor,
    rows: str,
    *,
    for_x: bool,
    for_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients; the arguments beside the total class weight are the operator's."""
    batch, (dim, classes) = x.size(0), weight.shape
    scaled, spread = scales.size(1) > 0, class_weights is not None
    width = min(_padded(classes), BLOCK_CLASSES)
    far, common = is_far(dim, classes), _common(x, weight)
    dtype, precision = _derivatives_as(common)
    derivatives = x.new_empty((batch, width), dtype=dtype)
    tiles = triton.cdiv(batch, ROW_TILE)
    radial_sums = x.new_empty((tiles, width if scaled else 0), dtype=torch.float32)
    slots = x.new_empty((SLOTS if for_x else 0, batch, dim), dtype=torch.float32)
    grad_weight = torch.empty_like(weight) if for_weight else weight.new_empty(0)
    for first in range(0, classes, width):
        block = (batch, dim, classes, first, min(first + width, classes), width)
        launch(
            derive_scores, lambda meta: (tiles, triton.cdiv(width, meta["BLOCK_N"])),
            x, weight, labels, terms, scales, class_weights, total, upstream, spread_upstream,
            derivatives, radial_sums, *block,
            SCALED=scaled, SPREAD=spread, FAR=far,
            PRECISION=product_precision(common), BLOCK_M=ROW_TILE,
        )  # fmt: skip
        if for_x:
            launch(
                add_to_rows,
                lambda meta: (
                    triton.cdiv(batch, meta["BLOCK_M"]),
                    triton.cdiv(dim, meta["BLOCK_N"]),
                    SLOTS,
                ),
                derivatives, weight, slots, *block,
                _padded(triton.cdiv(width, SLOTS)), int(first == 0), FAR=far, PRECISION=precision,
            )  # fmt: skip
        if for_weight:
            launch(
                write_weight,
                lambda meta: (
                    triton.cdiv(dim, meta["BLOCK_M"]),
                    triton.cdiv(width, meta["BLOCK_N"]),
                ),
                derivatives, x, weight, scales, radial_sums, grad_weight, *block, tiles,
                SCALED=scaled, FAR=far, PRECISION=precision,
            )  # fmt: skip
    if not for_x:
        return x.new_empty(0), grad_weight
    grad_x = torch.empty_like(x)
    launch(
        finish_rows, (triton.cdiv(batch, FEW),),
        slots, x, labels, terms, class_weights, total, upstream, spread_upstream, grad_x,
        batch, dim, ROWS=rows, SPREAD=spread, SLOTS=SLOTS, BLOCK_M=FEW, BLOCK_K=MANY,
    )  # fmt: skip
    return grad_x, grad_weight


def _padded(number: int) -> int:
    """Return the next multiple of ``ALIGNED``."""
    return ALIGNED * -(-number // ALIGNED)


def _common(x: Tensor, weight: Tensor) -> torch.dtype:
    """Return the dtype of the products' factors."""
    return x.dtype if x.dtype == weight.dtype else torch.float32


def _derivatives_as(common: torch.dtype) -> tuple[torch.dtype, str]:
    """Return the dtype of the derivatives, and the precision of their products.

    float16 would lose small derivatives, and large ones under a GradScaler. They are float32, and
    a TF32 factor holds every digit of a float16.
    """
    if common == torch.float16:
        return torch.float32, "tf32"
    return common, product_precision(common)
