"""The contrastive losses: one pass over the differences, one gradient factor per distance."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.differentiable import (
    DIFFERENTIABLE_ONCE,
    differentiable_once,
    returns_new_tensor,
)
from lossbench.impls.precision import widened, without_autocast
from lossbench.impls.registry import register


class _Contrastive(nn.Module):
    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin


@register("contrastive_whole_batch", "fused", compiles=True, limits=DIFFERENTIABLE_ONCE)
class ContrastiveWholeBatch(_Contrastive):
    """One norm over the batch; the loss is linear in the labels, so their mean is enough."""

    @without_autocast
    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        share = same.to(widened(x0.dtype)).mean()
        return LossOnly(_PairLoss.apply(x0, x1, share, self.margin, True))  # type: ignore[no-untyped-call]


@register("contrastive", "fused", compiles=True, limits=DIFFERENTIABLE_ONCE)
class Contrastive(_Contrastive):
    """One norm per pair."""

    @without_autocast
    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        share = same.to(widened(x0.dtype)).unsqueeze(1)
        return LossOnly(_PairLoss.apply(x0, x1, share, self.margin, False))  # type: ignore[no-untyped-call]


class _PairLoss(torch.autograd.Function):
    """``mean ½ (s d² + (1 - s) max(0, m - d)²)`` over distances ``d [B, 1]``, or ``[1, 1]``.

    Its derivative is ``(s - (1 - s) max(0, m - d) / d) (x0 - x1)``, and 0 if ``d`` is 0.
    """

    @staticmethod
    @returns_new_tensor
    def forward(
        ctx: Any, x0: Tensor, x1: Tensor, share: Tensor, margin: float, whole_batch: bool
    ) -> Tensor:
        wide = share.dtype
        diff = x0.to(wide) - x1.to(wide)
        distance = torch.linalg.vector_norm(diff, dim=1, keepdim=True)
        if whole_batch:
            # One norm over 100,000 elements is wrong by several roundings; a norm of norms is not.
            distance = torch.linalg.vector_norm(distance, dim=0, keepdim=True)
        shortfall = (margin - distance).clamp_(min=0)
        # The inputs are saved so that a second derivative by them raises an error.
        ctx.save_for_backward(diff, distance, shortfall, share, x0, x1)
        loss = torch.lerp(shortfall.square(), distance.square(), share).mean()
        return loss / 2

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        diff, distance, shortfall, share, x0, x1 = ctx.saved_tensors
        push = shortfall.div(F.threshold(distance, 0, torch.inf)).neg_()
        factor = torch.lerp(push, torch.ones_like(push), share)
        grad = diff * factor.mul_(grad_loss.to(diff.dtype) / distance.numel())
        grad_x0 = grad.to(x0.dtype) if ctx.needs_input_grad[0] else None
        grad_x1 = grad.neg().to(x1.dtype) if ctx.needs_input_grad[1] else None
        return grad_x0, grad_x1, None, None, None
