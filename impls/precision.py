"""The precision that implementations compute in, and the dtype of the loss."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

# With at most this many features, points lie close together, where the expanded square loses
# digits, and the differences of all pairs need little more memory than the distances.
FEW_FEATURES = 4

P = ParamSpec("P")
R = TypeVar("R")


def widened(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to accumulate in: float32 for the half precisions, else ``dtype``."""
    return torch.promote_types(dtype, torch.float32)


def fit_for_autocast(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a forward so that half precision is widened and rounded in one place.

    Under autocast the layer before the loss gives half precision, where squares, sums and a scaled
    gradient overflow. Therefore the inputs are widened first, and the loss is float32 or wider, as
    that of ``F.cross_entropy``. Autocast still lowers the products of a forward that permits it.
    Without autocast the loss, computed wide, is rounded to the dtype of embeddings and parameters.
    """
    if getattr(forward, "is_fit", False):
        return forward

    @functools.wraps(forward)
    def fit(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        given = args or tuple(kwargs.values())
        if given and _is_lowered(given[0]):
            args, kwargs = widened_inputs(args, kwargs)
        out = forward(self, *args, **kwargs)
        rounded = round_loss(self, args, kwargs, out)
        return out if rounded is None else rounded

    fit.is_fit = True  # type: ignore[attr-defined]
    return fit


def attach_fit(module: nn.Module) -> None:
    """Do by hooks what ``fit_for_autocast`` does, for a module of an undecorated class."""
    if not getattr(type(module).forward, "is_fit", False):
        module.register_forward_pre_hook(_widen, with_kwargs=True)
        module.register_forward_hook(round_loss, with_kwargs=True)


def widened_inputs(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the inputs, with those of half precision converted to float32."""
    wide = tuple(_widened_input(value) for value in args)
    return wide, {name: _widened_input(value) for name, value in kwargs.items()}


def round_loss(module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
    """Return an output with its first field in its final dtype; ``None`` if it has that dtype.

    Args:
        module: the module that was called.
        args: its positional inputs, widened under autocast.
        kwargs: its inputs by name, widened under autocast.
        out: the named tuple that the module returned.
    """
    loss = out[0] if isinstance(out, tuple) else None
    if not isinstance(loss, Tensor):
        # The harness reports a wrong output.
        return None
    embeddings = args[0] if args else next(iter(kwargs.values()))
    if loss.dtype is embeddings.dtype is torch.float32:
        # The usual case: float32 throughout, with autocast or without.
        return None
    if torch.is_autocast_enabled(loss.device.type):
        dtype = widened(loss.dtype)
    else:
        embeddings = next(t for t in (*args, *kwargs.values()) if t.is_floating_point())
        dtype = embeddings.dtype
        if dtype is loss.dtype:
            return None
        for parameter in module.parameters():
            dtype = torch.promote_types(dtype, parameter.dtype)
    # torch 2.11 cannot compile a named tuple's _replace.
    return None if dtype is loss.dtype else type(out)(loss.to(dtype), *out[1:])


def _widen(_module: nn.Module, args: Any, kwargs: Any) -> Any:
    given = args or tuple(kwargs.values())
    return widened_inputs(args, kwargs) if given and _is_lowered(given[0]) else None


def _is_lowered(value: Any) -> bool:
    return isinstance(value, Tensor) and torch.is_autocast_enabled(value.device.type)


def _widened_input(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(widened(value.dtype))
    return value


def without_noise(squared: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return expanded squares with 0 in place of pure rounding error, as between equal rows.

    For equal rows an expanded square is the difference of two sums of the same products. Eager code
    adds them in the order of the reference, and this would cost it another pass. The compiler
    chooses another order, and fuses this pass with others.

    Args:
        squared: the expanded squares ``‖a_i‖² + ‖b_j‖² - 2 a_i·b_j``, ``[M, N]``.
        a: the first rows, ``[M, D]``.
        b: the second rows, ``[N, D]``; possibly ``a`` itself.
    """
    lengths = a.square().sum(1, keepdim=True) + b.square().sum(1)
    # The comparison is false for NaN and infinity, so they stay unchanged.
    noise = squared < 2 * torch.finfo(squared.dtype).eps * lengths
    if a is b:
        noise = noise | torch.eye(len(a), dtype=torch.bool, device=a.device)
    return squared.masked_fill(noise, 0)


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a forward or a backward so that autocast does not lower its products.

    Autocast is disabled for the device of the first tensor among the arguments.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)).device.type
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return guarded
