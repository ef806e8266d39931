"""The centre loss over all pairs of a sample and a label, by a native operator."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE, differentiable_once
from lossbench.impls.moving import AveragingCenters, refuse_to_compile
from lossbench.impls.native.build import problem
from lossbench.impls.native.gradients import FEW_ELEMENTS, NativeFunction, is_half, scaled
from lossbench.impls.native.moving import NativeShift
from lossbench.impls.native.operators import Native
from lossbench.impls.registry import register

COMPILED = "refused: the centres move within the forward pass; 'vectorized' is not"


@register(
    "center_all_pairs",
    "native",
    devices=("cpu",),
    limits={"compile": COMPILED, "export": COMPILED, **DIFFERENTIABLE_ONCE},
    problem=problem,
    refuses_labels=True,
)
class CenterAllPairs(Native, NativeShift, AveragingCenters):
    """One distance per sample and distinct label, from the difference, weighted by its count.

    The gradients are computed with the loss, because the centres move before the backward pass.
    """

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, and move the centres."""
        refuse_to_compile("the variant 'native' of center_all_pairs")
        loss: Tensor = _AllPairsWithGradients.apply(embeddings, self.centers, labels)
        self._move_centers(embeddings, labels)
        return LossOnly(loss)


class _AllPairsWithGradients(NativeFunction):
    """Gradients with the loss; those of the centres as rows of samples if there are many."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
        for_x, for_centers = ctx.needs_input_grad[:2]
        ctx.dense = centers.numel() <= FEW_ELEMENTS and not is_half(x, centers)
        loss: Tensor
        loss, grad_x, grad_centers = torch.ops.lossbench_native.all_pairs.default(
            x, centers, labels, for_x, for_centers, ctx.dense
        )
        ctx.save_for_backward(
            *(x if for_x else None, labels),
            *(grad_x if for_x else None, grad_centers if for_centers else None),
        )
        ctx.dtypes, ctx.shape = (x.dtype, centers.dtype), centers.shape
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        _, labels, *grads = ctx.saved_tensors
        grad_x, grad_centers = scaled(upstream, *grads)
        if grad_centers is not None and not ctx.dense:
            rows = grad_centers.new_zeros(ctx.shape)
            grad_centers = rows.index_add_(0, labels, grad_centers).to(ctx.dtypes[1])
        return None if grad_x is None else grad_x.to(ctx.dtypes[0]), grad_centers, None
