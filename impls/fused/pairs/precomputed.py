"""Losses whose gradient is made along with their value, and kept in place of what it is made of."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.precision import widened, without_autocast


class Evaluated(NamedTuple):
    """The loss 0-d, how many anchors are correct, and the gradient ``[B, D]`` where asked for."""

    loss: Tensor
    correct: Tensor
    gradient: Tensor | None


class Precomputed(nn.Module, ABC):
    """A labelled loss; its ``evaluate`` makes the value and the gradient.

    The loss is linear in what flows in from above, so that one gradient serves any.
    """

    # No backward pass is left for the compiler to derive, and its own autograd around the graph
    # would add a third to a small batch's step.
    compiled_method: ClassVar[str] = "evaluate"

    @without_autocast
    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        x = embeddings.to(widened(embeddings.dtype))
        wants_gradient = torch.is_grad_enabled() and x.requires_grad
        loss, correct, gradient = self.evaluate(x.detach(), labels, wants_gradient)
        if gradient is not None:
            loss = _WithGradient.apply(x, loss, gradient)  # type: ignore[no-untyped-call]
        return LossAndCorrect(loss, correct)

    @abstractmethod
    def evaluate(self, x: Tensor, labels: Tensor, wants_gradient: bool) -> Evaluated:
        """Evaluate ``x [B, D]``, detached and float32 or wider, with ``labels [B]``."""


class _WithGradient(torch.autograd.Function):
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
