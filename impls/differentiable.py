"""Forward and backward passes of our own: what ``torch.autograd.Function`` does not ensure."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lossbench.impls.torch_release import running_release

Gradients = tuple[Tensor | None, ...]
Forward = Callable[..., Tensor]
Backward = Callable[..., Gradients]

# The first release of torch that compiles a forward which ends in an operator in place.
COMPILES_IN_PLACE = (2, 12)

DIFFERENTIABLE_ONCE: Mapping[str, str] = {
    "functional": "refused by torch: it has no functorch transform of a backward pass of our own",
    "double-backward": "refused: its backward pass has no derivative; take the variant vectorized",
    "forward-mode": "refused by torch: our own backward pass has no forward-mode counterpart",
}
"""The limits of a variant with such a backward pass."""


def returns_new_tensor(forward: Forward) -> Forward:
    """Decorate a ``forward`` so that its compiled code returns a tensor that nothing else holds.

    torch 2.11 compiles a Function into one that returns all its intermediate tensors too. If one of
    them is the result, as before an operator in place or a conversion that changes nothing, then
    the result's gradient is lost, in silence. Any later torch needs no copy, and gets none.
    """
    if running_release() >= COMPILES_IN_PLACE:
        return forward

    @functools.wraps(forward)
    def copied(*args: Any) -> Tensor:
        result = forward(*args)
        return result.clone() if torch.compiler.is_compiling() else result

    return copied


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
