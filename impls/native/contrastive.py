"""The contrastive losses by a native operator: the value and the gradients in one pass."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.native.gradients import NativeFunction, scaled
from lossbench.impls.native.operators import NATIVE, Native, wide
from lossbench.impls.registry import register


class _NativeContrastive(Native):
    """A distance of the rows of each pair, or one of all of them.

    Attributes:
        whole_batch: true for one distance.
    """

    whole_batch: bool

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        x0, x1 = wide(x0, x1)
        if not same.is_floating_point():
            same = same.to(x0.dtype)
        for_x = torch.is_grad_enabled() and (x0.requires_grad or x1.requires_grad)
        given = x0, x1, same, float(self.margin), self.whole_batch, for_x
        # Without a gradient too: forward-mode differentiation must not find a constant.
        return LossOnly(_ContrastiveWithGradients.apply(*given))


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


@register("contrastive", "native", **NATIVE)
class Contrastive(_NativeContrastive):
    """One distance per pair."""

    whole_batch = False


@register("contrastive_whole_batch", "native", **NATIVE)
class ContrastiveWholeBatch(_NativeContrastive):
    """One distance of the batch; the loss is linear in the labels, so their mean is enough."""

    whole_batch = True
