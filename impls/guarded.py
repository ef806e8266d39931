"""What happens around the forward pass of every implementation.

Inputs are checked, moved state is kept for checkpointing, and mixed precision is widened. A hook
costs about as much as one of these, so the forward of a registered class does them itself. Hooks do
them for other modules: those that a function builds, and those with a compiled forward.
"""

import functools
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.compiler import is_compiling

from lossbench.impls.checks import InputCheck
from lossbench.impls.precision import is_lowered, round_loss, widened_inputs
from lossbench.impls.recomputation import MovedState

# The errors of torch for an index or a target that is out of range.
LABEL_ERRORS = (IndexError, RuntimeError)


def guard_forward(builder: type[nn.Module]) -> None:
    """Make the forward of a class do what its modules' ``input_check`` and ``moved_state`` ask for.

    Args:
        builder: the class; its subclasses inherit the forward.
    """
    builder.input_check = None  # type: ignore[attr-defined]
    builder.moved_state = None  # type: ignore[attr-defined]
    if not _is_guarded(builder):
        builder.forward = _guarded(builder.forward)


def has_guarded_forward(module: nn.Module, *, compiled: bool) -> bool:
    """Return whether a module's forward runs outside compiled code, and is guarded."""
    return not compiled and _is_guarded(type(module))


def attach(
    module: nn.Module, check: InputCheck | None, moved: MovedState | None, *, by_hooks: bool
) -> None:
    """Let a module check its inputs, keep its moved state, and fit autocast.

    Args:
        module: the module.
        check: the check of its inputs; ``None`` for no check.
        moved: the keeper of its moved state; ``None`` if no state moves.
        by_hooks: whether hooks call them; else the guarded forward does.
    """
    if not by_hooks:
        module.input_check = check  # type: ignore[assignment]
        module.moved_state = moved  # type: ignore[assignment]
        return
    if check is not None:
        module.register_forward_pre_hook(check, with_kwargs=True)
    if not _is_guarded(type(module)):
        module.register_forward_pre_hook(_widen, with_kwargs=True)
        module.register_forward_hook(round_loss, with_kwargs=True)
    if moved is not None:
        moved.attach(module)


def _is_guarded(kind: type[nn.Module]) -> bool:
    return getattr(kind.forward, "is_guarded", False)


def _guarded(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def guarded(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        check: Any = self.input_check
        if check is not None:
            args, kwargs = check(self, args, kwargs) or (args, kwargs)
        moved: Any = self.moved_state
        if moved is None or not moved.enter(self, args, kwargs):
            return _call(forward, self, args, kwargs)
        out = None
        try:
            out = _call(forward, self, args, kwargs)
        finally:
            moved.leave(self, args, out)
        return out

    guarded.is_guarded = True  # type: ignore[attr-defined]
    return guarded


def _call(forward: Callable[..., Any], module: nn.Module, args: Any, kwargs: Any) -> Any:
    """Return what a forward returns, in its final dtype, for inputs that are widened if need be.

    Raises:
        ValueError: if the forward raises, and the check knows why.
    """
    given = args or tuple(kwargs.values())
    if given and is_lowered(given[0]):
        args, kwargs = widened_inputs(args, kwargs)
    try:
        out = forward(module, *args, **kwargs)
    except LABEL_ERRORS:
        check: Any = module.input_check
        problem = None if check is None or is_compiling() else check.problem(args, kwargs)
        if problem is None:
            raise
        raise problem from None
    rounded = round_loss(module, args, kwargs, out)
    return out if rounded is None else rounded


def _widen(_module: nn.Module, args: Any, kwargs: Any) -> Any:
    given = args or tuple(kwargs.values())
    return widened_inputs(args, kwargs) if given and is_lowered(given[0]) else None
