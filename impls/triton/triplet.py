"""The batch-hard triplet loss by Triton kernels: mined in tiles, then two distances an anchor."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.registry import register
from lossbench.impls.triton.loaded import TRITON, OnTriton


@register("triplet_batch_hard", "triton", **TRITON)
class TripletBatchHard(OnTriton):
    """Mine in tiles of products, then compute the chosen distances from differences.

    Products of a lower precision may choose another partner than the reference where two are
    nearly as far: its squared distance is within ``impls.triton.precision.near_tie`` of the
    extreme. ``mining_precision`` says which precision torch's own setting stands for.
    """

    operators = ("batch_hard",)

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        inputs = (embeddings.contiguous(), labels.contiguous(), self.margin)
        loss, correct = _BatchHard.apply(*inputs)  # type: ignore[no-untyped-call]
        return LossAndCorrect(loss, correct)


class _BatchHard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        loss, correct, partners, pulls = torch.ops.lossbench_triton.batch_hard.default(
            x, labels, margin
        )
        ctx.save_for_backward(x, partners, pulls)
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor, _correct: None) -> tuple[Tensor, None, None]:
        operator = torch.ops.lossbench_triton.batch_hard_backward.default
        return operator(upstream.contiguous(), *ctx.saved_tensors), None, None
