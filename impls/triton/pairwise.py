"""The distances of all rows of two matrices, as autograd sees their operators."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.differentiable import differentiable_once


def triton_distances(a: Tensor, b: Tensor, *, rooted: bool) -> Tensor:
    """Return the distances of ``a [M, D]`` and ``b [N, D]``, or their squares, ``[M, N]``.

    Args:
        a: the first rows, ``[M, D]``.
        b: the second rows, ``[N, D]``.
        rooted: whether squares are clamped and their roots are taken.
    """
    dtype = torch.promote_types(a.dtype, b.dtype)
    inputs = a.to(dtype).contiguous(), b.to(dtype).contiguous(), rooted
    distances: Tensor = _Pairwise.apply(*inputs)  # type: ignore[no-untyped-call]
    return distances


class _Pairwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, rooted: bool) -> Tensor:
        distances: Tensor = torch.ops.lossbench_triton.pairwise.default(a, b, rooted)
        ctx.save_for_backward(a, b, distances if rooted else None)
        return distances

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        for_a, for_b = ctx.needs_input_grad[:2]
        grad_a, grad_b = torch.ops.lossbench_triton.pairwise_backward.default(
            upstream.contiguous(), *ctx.saved_tensors, for_a, for_b
        )
        return grad_a if for_a else None, grad_b if for_b else None, None
