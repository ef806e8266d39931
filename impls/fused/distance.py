"""Distances that save only the rows and their own result for the backward pass."""

from typing import Any

import torch
from torch import Tensor, nn

from lossbench.impls.catalogue import Distances
from lossbench.impls.differentiable import (
    DIFFERENTIABLE_ONCE,
    differentiable_once,
    returns_new_tensor,
)
from lossbench.impls.formulas import CLAMPED_DISTANCE, LEAST_SQUARED_DISTANCE
from lossbench.impls.precision import widened, without_noise
from lossbench.impls.products import add_product
from lossbench.impls.registry import register


@register("pairwise_distance", "fused", compiles=True, limits=DIFFERENTIABLE_ONCE)
class PairwiseDistance(nn.Module):
    """The root of the clamped expanded square, in place."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return ``distances [M, N]``."""
        return _applied(_Distance, a, b)


@register("pairwise_squared_distance", "fused", compiles=True, limits=DIFFERENTIABLE_ONCE)
class PairwiseSquaredDistance(nn.Module):
    """The expanded square, unclamped; only the rows are saved for the backward pass."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return squared ``distances [M, N]``."""
        return _applied(_SquaredDistance, a, b)


@register("vector_distance", "fused", compiles=True, limits=DIFFERENTIABLE_ONCE)
class VectorDistance(nn.Module):
    """The norm of the rows' norms; the gradient is one factor, and 0 at 0."""

    def forward(self, a: Tensor, b: Tensor) -> Distances:
        """Return the one distance, 0-d."""
        return _applied(_VectorDistance, a, b)


def _applied(function: type[torch.autograd.Function], a: Tensor, b: Tensor) -> Distances:
    """Return the result of a Function of the rows, computed wide."""
    wide = widened(a.dtype)
    distances: Tensor = function.apply(a.to(wide), b.to(wide))  # type: ignore[no-untyped-call]
    return Distances(distances)


def _expanded_squares(a: Tensor, b: Tensor) -> Tensor:
    squared = (a * a).sum(1, keepdim=True) + (b * b).sum(1)
    # Autocast does not lower a product in place.
    return add_product(squared, a, b.t(), alpha=-2)


def _pulls(
    ctx: Any, a: Tensor, b: Tensor, pull: Tensor, scale: float
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradient ``scale Σ_j p_ij (a_i - b_j)`` to ``a``, and that to ``b``."""
    grad_a = grad_b = None
    if ctx.needs_input_grad[0]:
        total = a * pull.sum(1, keepdim=True)
        grad_a = add_product(total, pull, b, beta=scale, alpha=-scale)
    if ctx.needs_input_grad[1]:
        total = b * pull.sum(0).unsqueeze(1)
        grad_b = add_product(total, pull.t(), a, beta=scale, alpha=-scale)
    return grad_a, grad_b


class _Distance(torch.autograd.Function):
    @staticmethod
    @returns_new_tensor
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        squared = _expanded_squares(a, b)
        if torch.compiler.is_compiling():
            squared = without_noise(squared, a, b)
        distances = squared.clamp_(min=LEAST_SQUARED_DISTANCE).sqrt_()
        ctx.save_for_backward(a, b, distances)
        return distances

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b, distances = ctx.saved_tensors
        # A clamped distance has no gradient, so it is replaced by infinity, with inverse 0.
        divisor = torch.threshold(distances, CLAMPED_DISTANCE, torch.inf)
        return _pulls(ctx, a, b, torch.div(grad, divisor, out=divisor), 1)


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    @returns_new_tensor
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _expanded_squares(a, b)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        return _pulls(ctx, a, b, grad, 2)


class _VectorDistance(torch.autograd.Function):
    @staticmethod
    @returns_new_tensor
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        diff = a - b
        distance: Tensor = torch.linalg.vector_norm(torch.linalg.vector_norm(diff, dim=-1))
        # The inputs are saved so that a second derivative by them raises an error.
        ctx.save_for_backward(diff, distance, a, b)
        return distance

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        diff, distance, _a, _b = ctx.saved_tensors
        pull = diff * (grad / torch.threshold(distance, 0, torch.inf))
        return pull, pull.neg() if ctx.needs_input_grad[1] else None
