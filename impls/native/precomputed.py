"""Labelled losses by a native operator that computes the gradient with the value."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.native.gradients import NativeFunction, is_half, scaled
from lossbench.impls.precision import widened

Operator = Callable[..., tuple[Tensor, Tensor, Tensor]]


def evaluate(
    operator: Operator, embeddings: Tensor, labels: Tensor, *arguments: float | bool
) -> LossAndCorrect:
    """Return the loss and the number of correct anchors.

    The gradient is linear in the upstream gradient, so one gradient serves any upstream gradient.

    Args:
        operator: the operator of ``x, labels, *arguments, for_x``, with the outputs loss, correct
            and gradient.
        embeddings: the embeddings, ``[B, D]``; half precision is widened, so that the gradient
            does not underflow before it is multiplied by a large scale.
        labels: the labels, ``[B]``.
        *arguments: the operator's other arguments.
    """
    x = embeddings
    if is_half(x):
        x = x.to(widened(x.dtype))
    for_x = torch.is_grad_enabled() and x.requires_grad
    # Without a gradient too: forward-mode differentiation must not find a constant.
    loss, correct = _TripletWithGradient.apply(x, labels, operator, arguments, for_x)
    return LossAndCorrect(loss, correct)


class _TripletWithGradient(NativeFunction):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        labels: Tensor,
        operator: Operator,
        arguments: tuple[float | bool, ...],
        for_x: bool,
    ) -> tuple[Tensor, Tensor]:
        loss, correct, gradient = operator(x, labels, *arguments, for_x)
        # x is saved so that a second derivative by it raises an error.
        ctx.save_for_backward(gradient, x)
        ctx.mark_non_differentiable(correct)
        # Else the backward pass makes a zero for the gradient of `correct`.
        ctx.set_materialize_grads(False)
        return loss, correct

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor | None, _correct: None) -> tuple[Tensor | None, ...]:
        if upstream is None:
            return (None,) * 5
        return (*scaled(upstream, ctx.saved_tensors[0]), None, None, None, None)
