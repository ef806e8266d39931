"""The operators of the distances of all rows of two matrices, forward and backward."""

import torch
import triton
from torch import Tensor
from torch.library import triton_op

from lossbench.impls.precision import FEW_FEATURES
from lossbench.impls.triton.kernels.launching import launch
from lossbench.impls.triton.kernels.pairwise_tiles import measure_all, pull_side
from lossbench.impls.triton.kernels.rows import launch_halves
from lossbench.impls.triton.kernels.tiles import is_far
from lossbench.impls.triton.precision import NOISE, product_precision


@triton_op("lossbench_triton::pairwise", mutates_args=())
def pairwise(a: Tensor, b: Tensor, rooted: bool) -> Tensor:
    """Return the distances of all pairs of rows, ``[M, N]``, float32.

    Args:
        a: the first rows, ``[M, D]``, contiguous.
        b: the second rows, ``[N, D]``, contiguous and of the same dtype.
        rooted: whether the squares are clamped and their roots are taken.
    """
    precision = product_precision(a.dtype)
    distances = a.new_empty((a.size(0), b.size(0)), dtype=torch.float32)
    halves = launch_halves(a, precision), launch_halves(b, precision)
    launch(
        measure_all,
        lambda meta: (
            triton.cdiv(a.size(0), meta["BLOCK_M"]),
            triton.cdiv(b.size(0), meta["BLOCK_N"]),
        ),
        a, b, *halves, distances, a.size(0), b.size(0), a.size(1),
        ROOTED=rooted, FEW=a.size(1) <= FEW_FEATURES, FAR=is_far(a.size(1), b.size(0)),
        NOISE=NOISE[precision], PRECISION=precision,
    )  # fmt: skip
    return distances


@triton_op("lossbench_triton::pairwise_backward", mutates_args=())
def pairwise_backward(
    upstream: Tensor,
    a: Tensor,
    b: Tensor,
    distances: Tensor | None,
    for_a: bool,
    for_b: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``a`` and ``b``; one that is not wanted is empty.

    Args:
        upstream: the derivatives by the distances, ``[M, N]``, contiguous.
        a: the first rows, ``[M, D]``.
        b: the second rows, ``[N, D]``.
        distances: the distances, ``[M, N]``; ``None`` if they are squares.
        for_a: whether the gradient of ``a`` is wanted.
        for_b: whether the gradient of ``b`` is wanted.
    """
    grad_a = torch.empty_like(a) if for_a else a.new_empty(0)
    grad_b = torch.empty_like(b) if for_b else b.new_empty(0)
    factor = 2.0 if distances is None else 1.0
    if for_a:
        launch_pulls(a, b, upstream, grad_a, distances=distances, factor=factor)
    if for_b:
        launch_pulls(b, a, upstream, grad_b, transposed=True, distances=distances, factor=factor)
    return grad_a, grad_b


def launch_pulls(
    a: Tensor,
    b: Tensor,
    weights: Tensor,
    gradient: Tensor,
    *,
    transposed: bool = False,
    distances: Tensor | None = None,
    upstream: Tensor | None = None,
    others: Tensor | None = None,
    factor: float = 1.0,
) -> None:
    """Write the gradient of the rows of ``a``; the arguments are those of ``pull_side``."""
    rows, dim = a.shape
    precision = product_precision(a.dtype)
    launch(
        pull_side,
        lambda meta: (triton.cdiv(rows, meta["BLOCK_M"]), triton.cdiv(dim, meta["BLOCK_N"])),
        a, b, weights, distances, upstream, others, gradient, rows, b.size(0), dim,
        # The pulls are float32, and a TF32 factor holds every digit of half precision.
        FACTOR=factor, TRANSPOSED=transposed, FAR=is_far(dim, rows, b.size(0)),
        PRECISION=precision if a.dtype == torch.float32 else "tf32",
    )  # fmt: skip
