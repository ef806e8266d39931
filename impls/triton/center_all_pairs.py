"""The centre loss over all pairs of a sample and a label, by Triton kernels."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE, differentiable_once
from lossbench.impls.moving import AveragingCenters, refuse_to_compile
from lossbench.impls.registry import register
from lossbench.impls.triton.centers import SummedByKernel, kernel_inputs
from lossbench.impls.triton.loaded import TRITON, OnTriton

COMPILED = "refused: the centres move within the forward pass; 'vectorized' is not"


@register(
    "center_all_pairs",
    "triton",
    refuses_labels=True,
    **{**TRITON, "limits": {"compile": COMPILED, "export": COMPILED, **DIFFERENTIABLE_ONCE}},
)
class CenterAllPairs(OnTriton, SummedByKernel, AveragingCenters):
    """One column per distinct label, weighted by its count; the own centres by differences.

    The centres of the labels are copied, because they move before the backward pass. It reads the
    inverse distances of all pairs, ``[B, min(B, C)]``: to compute them again would take four times
    as long at 512 features.
    """

    operators = ("all_pairs", "centers")

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, and move the centres."""
        refuse_to_compile("the variant 'triton' of center_all_pairs")
        dtype = torch.promote_types(embeddings.dtype, self.centers.dtype)
        x, centers, labels = kernel_inputs(embeddings.to(dtype), self.centers.to(dtype), labels)
        loss: Tensor = _AllPairsOnTriton.apply(x, centers, labels)  # type: ignore[no-untyped-call]
        self._move_centers(embeddings, labels)
        return LossOnly(loss)


class _AllPairsOnTriton(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor
        loss, *numbers = torch.ops.lossbench_triton.all_pairs.default(
            x, centers, labels, any(ctx.needs_input_grad)
        )
        ctx.save_for_backward(x, *numbers)
        ctx.classes = len(centers)
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        for_x, for_centers = ctx.needs_input_grad[:2]
        grad_x, grad_centers = torch.ops.lossbench_triton.all_pairs_backward.default(
            upstream.contiguous(), *ctx.saved_tensors, ctx.classes, for_x, for_centers
        )
        return grad_x if for_x else None, grad_centers if for_centers else None, None
