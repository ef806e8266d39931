"""Losses that compute their gradient with their value, and save only the gradient."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.differentiable import differentiable_once, returns_new_tensor
from lossbench.impls.precision import widened, without_autocast


class Evaluated(NamedTuple):
    """The loss 0-d, the number of correct anchors, and the gradient ``[B, D]`` if wanted."""

    loss: Tensor
    correct: Tensor
    gradient: Tensor | None


class Precomputed(nn.Module, ABC):
    """A labelled loss; its ``evaluate`` computes the value and the gradient.

    The gradient is linear in the upstream gradient, so one gradient serves any upstream gradient.
    """

    # Only evaluate is compiled: nothing is left to derive for the backward pass, and the compiler's
    # autograd would make a step of a small batch a third slower.
    compiled_method: ClassVar[str] = "evaluate"

    @without_autocast
    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        x = embeddings.to(widened(embeddings.dtype))
        wants_gradient = torch.is_grad_enabled() and x.requires_grad
        loss, correct, gradient = self.evaluate(x.detach(), labels, wants_gradient)
        # Without a gradient too: forward-mode differentiation must not find a constant.
        loss = _WithGradient.apply(x, loss, gradient)  # type: ignore[no-untyped-call]
        return LossAndCorrect(loss, correct)

    @abstractmethod
    def evaluate(self, x: Tensor, labels: Tensor, wants_gradient: bool) -> Evaluated:
        """Evaluate ``x [B, D]``, detached and float32 or wider, with ``labels [B]``."""


class _WithGradient(torch.autograd.Function):
    @staticmethod
    @returns_new_tensor
    def forward(ctx: Any, x: Tensor, loss: Tensor, gradient: Tensor | None) -> Tensor:
        # x is saved so that a second derivative by it raises an error.
        ctx.save_for_backward(gradient, x)
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None]:
        gradient, _x = ctx.saved_tensors
        return gradient * grad_loss, None, None
