"""The softmax-weighted triplet losses by Triton kernels: no matrix of all pairs in either pass."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.formulas import unit_rows
from lossbench.impls.registry import register
from lossbench.impls.triton.loaded import TRITON, OnTriton


class _WeightedOnTriton(OnTriton):
    """A weighted triplet loss.

    Attributes:
        epsilon: the number added to the sums of the weights.
        shifted: whether to subtract the closest negative's distance before the exponential.
    """

    operators = ("weighted",)
    epsilon: ClassVar[float]
    shifted: ClassVar[bool]

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        x = unit_rows(embeddings) if self.normalize else embeddings
        inputs = (x.contiguous(), labels.contiguous(), self.epsilon, self.shifted)
        loss, correct = _WeightedPairs.apply(*inputs)  # type: ignore[no-untyped-call]
        return LossAndCorrect(loss, correct)


@register("triplet_weighted_unshifted", "triton", **TRITON)
class TripletWeightedUnshifted(_WeightedOnTriton):
    """The document's weights, with 1e-6 in their sums and the negatives' unshifted."""

    epsilon = 1e-6
    shifted = False


@register("triplet_weighted", "triton", **TRITON)
class TripletWeighted(_WeightedOnTriton):
    """Exact weights at any distance."""

    epsilon = 0.0
    shifted = True


class _WeightedPairs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, labels: Tensor, epsilon: float, shifted: bool
    ) -> tuple[Tensor, Tensor]:
        operator = torch.ops.lossbench_triton.weighted.default
        loss, correct, *numbers = operator(x, labels, epsilon, shifted)
        ctx.save_for_backward(x, labels, *numbers)
        ctx.epsilon = epsilon
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor, _correct: None) -> tuple[Tensor | None, ...]:
        operator = torch.ops.lossbench_triton.weighted_backward.default
        gradient = operator(upstream.contiguous(), *ctx.saved_tensors, ctx.epsilon)
        return gradient, None, None, None
