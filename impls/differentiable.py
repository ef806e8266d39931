"""Backward passes that raise an error if a second derivative is requested."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor | None, ...]
Backward = Callable[..., Gradients]

DIFFERENTIABLE_ONCE: Mapping[str, str] = {
    "functional": "refused by torch: it has no functorch transform of a backward pass of our own",
    "double-backward": "refused: its backward pass has no derivative; take the variant vectorized",
}
"""The limits of a variant with such a backward pass."""


def differentiable_once(backward: Backward) -> Backward:
    """Decorate a ``backward`` so that differentiating its gradients raises ``RuntimeError``.

    torch's own ``once_differentiable`` raises only if the upstream gradient has a graph. A loss's
    upstream gradient has none, so a gradient penalty would treat the gradients as constants, in
    silence. Here the gradients depend on the saved tensors, so that a derivative by a saved input
    raises an error.
    """

    @functools.wraps(backward)
    def guarded(ctx: Any, *grad_outputs: Tensor) -> Gradients:
        if not torch.is_grad_enabled():
            return backward(ctx, *grad_outputs)
        with torch.no_grad():
            grads = backward(ctx, *grad_outputs)
        sources = [t for t in (*ctx.saved_tensors, *grad_outputs) if t is not None]
        return tuple(None if grad is None else _refusing(grad, *sources) for grad in grads)

    return guarded


def _refusing(grad: Tensor, *sources: Tensor) -> Tensor:
    # If no source requires a gradient, this leaf does.
    leaf = grad.detach().requires_grad_()
    result: Tensor = _Refusal.apply(leaf, *sources)  # type: ignore[no-untyped-call]
    return result


class _Refusal(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, grad: Tensor, *_sources: Tensor) -> Tensor:
        return grad.clone()

    @staticmethod
    def backward(_ctx: Any, *_grads: Tensor) -> Any:
        raise RuntimeError(
            "a fused loss is differentiable once, and has no second derivative: "
            "use the variant 'vectorized'"
        )
