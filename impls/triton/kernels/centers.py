"""The operators of differences from other rows: of the centre losses, and of whole arrays."""

import torch
import triton
from torch import Tensor
from torch.library import triton_op

from lossbench.impls.triton.kernels.class_sums import launch_sums, sort_by_class
from lossbench.impls.triton.kernels.differences import (
    FEATURES,
    NUMBERS,
    ROWS,
    scale_differences,
    square_rows,
    weigh_squares,
)
from lossbench.impls.triton.kernels.launching import launch


@triton_op("lossbench_triton::differences", mutates_args=())
def differences(
    x: Tensor,
    other: Tensor,
    places: Tensor | None,
    factor: float,
    share: str,
    rooted: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a multiple of the sum of all squared differences, its pull, and the differences.

    Args:
        x: the rows, ``[B, D]``, contiguous.
        other: the rows to subtract, ``[C, D]``, contiguous.
        places: the row of ``other`` that is subtracted from each row, ``[B]``, contiguous; ``None``
            for that of the same number.
        factor: the factor of the sum.
        share: the divisor of the sum: ``whole`` for 1, ``row`` for B, ``element`` for B D.
        rooted: whether the root of the sum is taken.
        keep: whether the differences are returned, float32; else they are empty.
    """
    batch, dim = x.shape
    kept = x.new_empty((batch if keep else 0, dim), dtype=torch.float32)
    squares = launch_squares(x, other, places, kept if keep else None)
    value, pull = (x.new_empty((), dtype=torch.float32) for _ in range(2))
    divisor = {"whole": 1, "row": batch, "element": x.numel()}[share]
    launch(
        weigh_squares, (1,), squares, value, pull, batch, divisor, factor,
        ROOTED=rooted, BLOCK=NUMBERS,
    )  # fmt: skip
    return value, pull, kept


def launch_squares(
    x: Tensor, other: Tensor, places: Tensor | None, kept: Tensor | None = None
) -> Tensor:
    """Return the squared length of each row's difference, ``[B]``; write the differences too."""
    batch, dim = x.shape
    squares = x.new_empty(batch, dtype=torch.float32)
    launch(
        square_rows, (triton.cdiv(batch, ROWS),), x, other, places, squares, kept, batch, dim,
        BLOCK_M=ROWS, BLOCK_K=FEATURES,
    )  # fmt: skip
    return squares


def launch_multiples(
    x: Tensor,
    other: Tensor,
    places: Tensor | None,
    pulls: Tensor,
    upstream: Tensor | None,
    gradient: Tensor | None,
    opposite: Tensor | None = None,
) -> None:
    """Write the differences times their pulls and the upstream gradient, and their opposite."""
    batch, dim = x.shape
    launch(
        scale_differences, (triton.cdiv(batch, ROWS), triton.cdiv(dim, FEATURES)),
        x, other, places, pulls, upstream, gradient, opposite, batch, dim,
        EACH=pulls.dim() == 1, BLOCK_M=ROWS, BLOCK_K=FEATURES,
    )  # fmt: skip


@triton_op("lossbench_triton::pull_apart", mutates_args=())
def pull_apart(
    upstream: Tensor, pulls: Tensor, a: Tensor, b: Tensor, for_a: bool, for_b: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``a`` and ``b``, ``[B, D]``; one that is not wanted is empty.

    Args:
        upstream: the derivative by the value, 0-d.
        pulls: the pull of each row, ``[B]``, or of all, 0-d.
        a: the rows, ``[B, D]``.
        b: the rows that were subtracted, ``[B, D]``.
        for_a: whether the gradient of ``a`` is wanted.
        for_b: whether the gradient of ``b`` is wanted.
    """
    grad_a = torch.empty_like(a) if for_a else a.new_empty(0)
    grad_b = torch.empty_like(b) if for_b else b.new_empty(0)
    wanted = grad_a if for_a else None, grad_b if for_b else None
    launch_multiples(a, b, None, pulls, upstream, *wanted)
    return grad_a, grad_b


@triton_op("lossbench_triton::centers_backward", mutates_args=())
def centers_backward(
    upstream: Tensor,
    pull: Tensor,
    x: Tensor,
    centers: Tensor,
    labels: Tensor,
    for_x: bool,
    for_centers: bool,
    sparse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of ``x`` and ``centers``, and the classes of a sparse one.

    Args:
        upstream: the derivative by the value, 0-d.
        pull: the pull of all differences, 0-d.
        x: the rows, ``[B, D]``.
        centers: the centres, ``[C, D]``.
        labels: the labels, ``[B]``.
        for_x: whether the gradient of ``x`` is wanted.
        for_centers: whether the gradient of the centres is wanted.
        sparse: whether the latter has a row for each sample, ``[B, D]``: the first row of a class
            has its sum, and any other is 0.
    """
    grad_x = torch.empty_like(x) if for_x else x.new_empty(0)
    if for_x:
        launch_multiples(x, centers, labels, pull, upstream, grad_x)
    if not for_centers:
        return grad_x, centers.new_empty(0), labels.new_empty(0)
    batch = sort_by_class(labels)
    shape = x.shape if sparse else centers.shape
    grad_centers = centers.new_empty(shape) if sparse else centers.new_zeros(shape)
    launch_sums(x, centers, batch, pull, upstream, grad_centers, by_class=not sparse)
    return grad_x, grad_centers, batch.classes if sparse else labels.new_empty(0)


@triton_op("lossbench_triton::class_sums", mutates_args=())
def class_sums(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return classes ``[B]``, the sums of their rows ``[B, D]``, float32, and their counts ``[B]``.

    The first entry of a class has its sum and count; any other entry of it has 0.

    Args:
        rows: the rows, ``[B, D]``, contiguous.
        labels: the class of each row, ``[B]``, contiguous.
    """
    batch = sort_by_class(labels)
    sums = torch.empty_like(rows, dtype=torch.float32)
    launch_sums(rows, None, batch, None, None, sums, by_class=False)
    places = torch.arange(len(labels), device=labels.device)
    is_first = torch.searchsorted(batch.classes, batch.classes) == places
    counts = torch.where(is_first, batch.stops - places, 0)
    return batch.classes, sums, counts
