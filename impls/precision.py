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


def widened_inputs(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the inputs, with those of half precision converted to float32.

    Under autocast the layer before the loss gives half precision, where squares, sums and a scaled
    gradient overflow. Therefore the inputs are widened first, and the loss is float32 or wider, as
    that of ``F.cross_entropy``. Autocast still lowers the products of a forward that permits it.
    """
    wide = tuple(_widened_input(value) for value in args)
    return wide, {name: _widened_input(value) for name, value in kwargs.items()}


def round_loss(module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
    """Return an output with its first field in its final dtype; ``None`` if it has that dtype.

    Under autocast that is float32 or wider. Without autocast the loss, computed wide, is rounded to
    the dtype of embeddings and parameters.

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


def is_lowered(value: Any) -> bool:
    """Return whether a value is a tensor on a device under autocast."""
    if not isinstance(value, Tensor):
        return False
    # A device takes a while to say its type.
    return torch.is_autocast_enabled("cpu" if value.is_cpu else value.device.type)


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
        noise = noise | torch.eye(a.size(0), dtype=torch.bool, device=a.device)
    return squared.masked_fill(noise, 0)


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a forward or a backward so that autocast does not lower its products.

    Autocast is disabled for the device of the first tensor among the arguments.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        tensor = _first_tensor(args, kwargs)
        if not is_lowered(tensor):
            return function(*args, **kwargs)
        with torch.autocast(tensor.device.type, enabled=False):
            return function(*args, **kwargs)

    return guarded


def _first_tensor(args: tuple[object, ...], kwargs: dict[str, object]) -> Tensor:
    # A loop takes half the time of a generator.
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value
    raise TypeError("expected a tensor among the arguments")
