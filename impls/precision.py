"""The precision that contenders compute in, and the dtype that a loss is given in."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

# Over so few features the differences of all pairs are about as small as their distances, which the
# expanded square would round where points lie close together.
FEW_FEATURES = 4

P = ParamSpec("P")
R = TypeVar("R")


def widened(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to accumulate in: float32 for the half precisions, else ``dtype``."""
    return torch.promote_types(dtype, torch.float32)


def fit_for_autocast(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a forward so that half precision is widened and rounded in one place.

    Under autocast half-precision inputs are widened first, since squares, sums and a scaled
    gradient overflow in what a layer before the loss gives; the loss is float32 at least, as that
    of ``F.cross_entropy``. Autocast still lowers the products of a forward that lets it. Elsewhere
    the loss, which contenders compute wide, is rounded to the dtype of embeddings and parameters.
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
    """Do with hooks what ``fit_for_autocast`` does, for a module of a class that is not ours."""
    if not getattr(type(module).forward, "is_fit", False):
        module.register_forward_pre_hook(_widen, with_kwargs=True)
        module.register_forward_hook(round_loss, with_kwargs=True)


def widened_inputs(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the inputs, those of half precision in float32."""
    wide = tuple(_widened_input(value) for value in args)
    return wide, {name: _widened_input(value) for name, value in kwargs.items()}


def round_loss(module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
    """Return an output with its first field in its final dtype, ``None`` if it is.

    Args:
        module: the module that was called.
        args: its positional inputs, widened under autocast.
        kwargs: its inputs by name, widened under autocast.
        out: the named tuple that it gave.
    """
    loss = out[0] if isinstance(out, tuple) else None
    if not isinstance(loss, Tensor):
        # The harness says what is wrong with it.
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
    return None if dtype is loss.dtype else out._replace(**{out._fields[0]: loss.to(dtype)})


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
    """Return expanded squares with 0 for those within their rounding, as those of a row to itself.

    Of equal rows an expanded square is what two ways to sum up the same products differ by. Eager
    code sums as the reference does, and would pay for another pass; the compiler has an order of
    its own, and fuses it.

    Args:
        squared: ``‖a_i - b_j‖² = ‖a_i‖² + ‖b_j‖² - 2 a_i·b_j``, ``[M, N]``.
        a: ``[M, D]``.
        b: ``[N, D]``, which may be ``a`` itself.
    """
    lengths = a.square().sum(1, keepdim=True) + b.square().sum(1)
    # NaN and infinity stay what they are.
    noise = squared < 2 * torch.finfo(squared.dtype).eps * lengths
    if a is b:
        noise = noise | torch.eye(len(a), dtype=torch.bool, device=a.device)
    return squared.masked_fill(noise, 0)


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a forward or a backward so that autocast does not lower its products.

    The device is that of the first tensor among the arguments.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)).device.type
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return guarded
