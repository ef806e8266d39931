"""Island loss in ``O(C D)``: the cosines of all centres from the length of their unit sum."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.differentiable import (
    DIFFERENTIABLE_ONCE,
    differentiable_once,
    returns_new_tensor,
)
from lossbench.impls.precision import widened, without_autocast
from lossbench.impls.registry import register
from lossbench.impls.state import IslandCenters

# A slice of centres stays in the cache from one operator to the next.
SLICE_ELEMENTS = 2**18
# A matrix product adds its terms one by one, so sums over more rows would lose digits.
SLICE_ROWS = 2**9


@register("island", "fused", compiles=True, limits=DIFFERENTIABLE_ONCE, refuses_labels=True)
class Island(IslandCenters):
    """One read of the centres in the forward pass; one read and one write for their gradient.

    ``Σ_{j<k} (cos(c_j, c_k) + 1) = (‖s‖² - C) / 2 + C (C - 1) / 2`` with ``s = Σ_j ĉ_j``, and its
    derivative by ``c_j`` is ``(s - (ĉ_j · s) ĉ_j) / ‖c_j‖``.
    """

    @without_autocast
    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        weights = self.island_weight, 1 / self.batch_size
        return LossOnly(_Island.apply(embeddings, self.centers, labels, *weights))  # type: ignore[no-untyped-call]


class _Island(torch.autograd.Function):
    @staticmethod
    @returns_new_tensor
    def forward(
        ctx: Any, x: Tensor, centers: Tensor, labels: Tensor, pair_weight: float, weight: float
    ) -> Tensor:
        wide = widened(torch.promote_types(x.dtype, centers.dtype))
        diff = x.to(wide) - centers.index_select(0, labels).to(wide)
        inverse, unit_sum = _unit_sum(centers, wide)
        count = len(centers)
        loss = (
            unit_sum.square()
            .sum()
            .mul_(pair_weight / 2)
            .add_(pair_weight * count * (count / 2 - 1))
        )
        loss.add_(diff.square().sum(), alpha=weight / 2)
        ctx.save_for_backward(diff, centers, labels, inverse, unit_sum)
        ctx.weights, ctx.x_dtype = (pair_weight, weight), x.dtype
        return loss

    @staticmethod
    @differentiable_once
    @without_autocast
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        diff, centers, labels, inverse, unit_sum = ctx.saved_tensors
        pair_weight, weight = ctx.weights
        grad_loss = grad_loss.to(diff.dtype)
        pull = diff * (grad_loss * weight)
        grad_x = pull.to(ctx.x_dtype) if ctx.needs_input_grad[0] else None
        grad_centers = None
        if ctx.needs_input_grad[1]:
            grad = _spread(centers, inverse, unit_sum, grad_loss * pair_weight)
            # With a factor, index_add would process the rows one by one.
            grad_centers = grad.index_add_(0, labels, pull.neg()).to(centers.dtype)
        return grad_x, grad_centers, None, None, None


def _slice_rows(centers: Tensor) -> int:
    """Return the number of centres of a slice."""
    count, dim = centers.shape
    if torch.compiler.is_compiling():
        # The compiler makes its own tiles, and would unroll a loop over slices.
        return count
    return min(max(1, SLICE_ELEMENTS // dim), SLICE_ROWS)


def _unit_sum(centers: Tensor, wide: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return ``1 / ‖c_j‖ [C]`` and ``Σ_j ĉ_j [D]``."""
    if torch.compiler.is_compiling():
        inverse = torch.linalg.vector_norm(centers.to(wide), dim=1).reciprocal()
        return inverse, (centers * inverse.unsqueeze(1)).sum(0)
    rows = _slice_rows(centers)
    parts = torch.split(centers, rows)
    inverse = centers.new_empty(1, len(centers), dtype=wide)
    sums = centers.new_empty(len(parts), 1, centers.size(1), dtype=wide)
    for part, scale, unit_sum in zip(parts, torch.split(inverse, rows, 1), sums, strict=True):
        values = part.to(wide)
        torch.linalg.vector_norm(values, dim=1, out=scale[0]).reciprocal_()
        torch.mm(scale, values, out=unit_sum)
    return inverse[0], sums.sum(0)[0]


def _spread(centers: Tensor, inverse: Tensor, unit_sum: Tensor, scale: Tensor) -> Tensor:
    """Return the pairs' gradient to the centres times ``scale``, ``[C, D]``."""
    grad = torch.empty_like(centers, dtype=inverse.dtype, memory_format=torch.contiguous_format)
    rows = _slice_rows(centers)
    factors = inverse.square(), (inverse * scale).unsqueeze(1)
    slices = (torch.split(tensor, rows) for tensor in (centers, grad, *factors))
    for part, out, square, factor in zip(*slices, strict=True):
        values = part.to(grad.dtype)
        along = torch.mv(values, unit_sum).mul_(square).unsqueeze(1)
        torch.addcmul(unit_sum, values, along, value=-1, out=out).mul_(factor)
    return grad
