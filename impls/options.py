"""``F.cross_entropy``'s options, which ``build`` takes beside the arguments of a cross-entropy."""

import inspect
import math
from collections.abc import Mapping
from typing import Any, get_args

import torch

from lossbench.impls.catalogue import EntropyOptions, Reduction
from lossbench.impls.loss import Loss

OPTIONS: Mapping[str, inspect.Parameter] = inspect.signature(EntropyOptions).parameters
"""The options by name, with their defaults."""


def options_of(loss: Loss) -> tuple[str, ...]:
    """Return the names of the options that a Loss takes beside its arguments."""
    return tuple(OPTIONS) if loss.takes_options else ()


def split_options(
    loss: Loss, arguments: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is given of a Loss's arguments, and what is given of the options."""
    names = options_of(loss)
    rest = {name: value for name, value in arguments.items() if name not in names}
    return rest, {name: value for name, value in arguments.items() if name in names}


def check_options(loss: Loss, options: Mapping[str, Any], num_classes: Any) -> dict[str, Any]:
    """Return the options that are not their defaults.

    Raises:
        ValueError: where a value is none that ``F.cross_entropy`` takes.
    """
    for name, value in options.items():
        problem = _PROBLEMS[name](value, num_classes)
        if problem:
            raise ValueError(f"{loss.name}: {name} must be {problem}")
    return {name: value for name, value in options.items() if not _is_default(name, value)}


def _is_default(name: str, value: Any) -> bool:
    # An array would be compared number by number.
    return isinstance(value, int | float | str | None) and value == OPTIONS[name].default


def _ignore_index(value: Any, _classes: Any) -> str:
    fits = value is None or (isinstance(value, int) and not isinstance(value, bool))
    return "" if fits else f"int or None, got {value!r}"


def _label_smoothing(value: Any, _classes: Any) -> str:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return "" if fits else f"a number from 0 to 1, got {value!r}"


def _class_weights(value: Any, classes: Any) -> str:
    if value is None:
        return ""
    wanted = f"a tensor or a list of {classes} numbers of 0 or more"
    try:
        weights = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return f"{wanted}, got {type(value).__name__}"
    if weights.dim() != 1 or len(weights) != classes:
        return f"{wanted}, got shape {list(weights.shape)}"
    wrong = [weight for weight in weights.tolist() if not 0 <= weight < math.inf]
    return f"{wanted}, got {wrong[0]}" if wrong else ""


def _reduction(value: Any, _classes: Any) -> str:
    choices = get_args(Reduction)
    return (
        ""
        if isinstance(value, str) and value in choices
        else f"one of {', '.join(choices)}, got {value!r}"
    )


_PROBLEMS = {
    "ignore_index": _ignore_index,
    "label_smoothing": _label_smoothing,
    "class_weights": _class_weights,
    "reduction": _reduction,
}
