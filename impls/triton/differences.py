"""The losses of two matrices' differences, row by row, as autograd sees their operators."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.differentiable import differentiable_once


def triton_differences(operator: str, a: Tensor, b: Tensor, *rest: Any) -> Tensor:
    """Return the value that an operator computes of the differences, 0-d.

    Args:
        operator: the name of the operator; it returns the value, then its pulls.
        a: the rows, ``[B, D]``.
        b: the rows to subtract, ``[B, D]``.
        *rest: the other arguments of the operator.
    """
    inputs = a.contiguous(), b.contiguous(), operator, rest
    value: Tensor = _Differences.apply(*inputs)  # type: ignore[no-untyped-call]
    return value


class _Differences(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, operator: str, rest: tuple[Any, ...]) -> Tensor:
        value: Tensor
        value, pulls, *_ = getattr(torch.ops.lossbench_triton, operator).default(a, b, *rest)
        ctx.save_for_backward(pulls, a, b)
        return value

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        for_a, for_b = ctx.needs_input_grad[:2]
        grad_a, grad_b = torch.ops.lossbench_triton.pull_apart.default(
            upstream.contiguous(), *ctx.saved_tensors, for_a, for_b
        )
        return grad_a if for_a else None, grad_b if for_b else None, None, None
