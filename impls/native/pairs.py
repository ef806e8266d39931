"""The contrastive losses, as autograd sees their native operator."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.native.gradients import NativeFunction, scaled
from lossbench.impls.native.operators import wide


def native_contrastive(
    x0: Tensor, x1: Tensor, same: Tensor, margin: float, *, whole_batch: bool
) -> Tensor:
    """Return the mean loss of the pairs of ``x0 [B, D]`` and ``x1 [B, D]``, 0-d.

    Args:
        x0: the first samples, ``[B, D]``.
        x1: the second samples, ``[B, D]``.
        same: 1 for a similar pair, 0 for another, ``[B]``.
        margin: the margin.
        whole_batch: true for one distance of all pairs.
    """
    x0, x1 = wide(x0, x1)
    if not same.is_floating_point():
        same = same.to(x0.dtype)
    for_x = torch.is_grad_enabled() and (x0.requires_grad or x1.requires_grad)
    given = x0, x1, same, float(margin), whole_batch, for_x
    # Without a gradient too: forward-mode differentiation must not find a constant.
    loss: Tensor = _ContrastiveWithGradients.apply(*given)
    return loss


class _ContrastiveWithGradients(NativeFunction):
    @staticmethod
    def forward(
        ctx: Any,
        x0: Tensor,
        x1: Tensor,
        same: Tensor,
        margin: float,
        whole_batch: bool,
        for_x: bool,
    ) -> Tensor:
        loss: Tensor
        loss, grad_x0, grad_x1 = torch.ops.lossbench_native.contrastive.default(
            x0, x1, same, margin, whole_batch, for_x
        )
        # The inputs are saved so that a second derivative by them raises an error.
        ctx.save_for_backward(grad_x0, grad_x1, x0, x1)
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        grad_x0, grad_x1, _, _ = ctx.saved_tensors
        for_x0, for_x1 = ctx.needs_input_grad[:2]
        wanted = grad_x0 if for_x0 else None, grad_x1 if for_x1 else None
        return (*scaled(upstream, *wanted), None, None, None, None)
