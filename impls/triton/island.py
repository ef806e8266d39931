"""Island loss in ``O(C D)`` by Triton kernels: all cosines from the length of a sum."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.registry import register
from lossbench.impls.state import IslandCenters
from lossbench.impls.triton.centers import kernel_inputs
from lossbench.impls.triton.loaded import TRITON, OnTriton


@register("island", "triton", refuses_labels=True, **TRITON)
class Island(OnTriton, IslandCenters):
    """One read of the centres in the forward pass; one read and one write for their gradient."""

    operators = ("island",)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        inputs = kernel_inputs(embeddings, self.centers, labels)
        weights = 0.5 / self.batch_size, float(self.island_weight)
        return LossOnly(_IslandOnTriton.apply(*inputs, *weights))  # type: ignore[no-untyped-call]


class _IslandOnTriton(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, centers: Tensor, labels: Tensor, factor: float, pair_weight: float
    ) -> Tensor:
        loss: Tensor
        loss, pull, *cosines = torch.ops.lossbench_triton.island.default(
            x, centers, labels, factor, pair_weight
        )
        ctx.save_for_backward(pull, x, centers, labels, *cosines)
        ctx.pair_weight = pair_weight
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        for_x, for_centers = ctx.needs_input_grad[:2]
        grad_x, grad_centers = torch.ops.lossbench_triton.island_backward.default(
            upstream.contiguous(), *ctx.saved_tensors, ctx.pair_weight, for_x, for_centers
        )
        grads = grad_x if for_x else None, grad_centers if for_centers else None
        return (*grads, None, None, None)
