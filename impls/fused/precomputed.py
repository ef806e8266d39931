"""Losses whose gradient is made along with their value, and kept in place of what it is made of."""

from typing import Any

import torch
from torch import Tensor

from impls.fused.differentiable import differentiable_once


def wants_gradient(x: Tensor) -> bool:
    """Return whether a gradient to ``x`` may be asked for."""
    return torch.is_grad_enabled() and x.requires_grad


def with_gradient(loss: Tensor, x: Tensor, gradient: Tensor | None) -> Tensor:
    """Return ``loss``, computed of a detached ``x``, with its ``gradient`` to ``x`` if it has one.

    The loss is linear in what flows in from above, so that one ``gradient`` serves any.
    """
    if gradient is None:
        return loss
    attached: Tensor = _Precomputed.apply(x, loss, gradient)  # type: ignore[no-untyped-call]
    return attached


class _Precomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        # With x, for a second derivative to be refused wherever it would pass through it.
        ctx.save_for_backward(gradient, x)
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None]:
        gradient, _x = ctx.saved_tensors
        return gradient * grad_loss, None, None
