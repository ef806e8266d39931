"""The check of the arguments that a module is built with."""

import inspect
import math
from collections.abc import Mapping
from typing import Any

from lossbench.impls.loss import Loss
from lossbench.impls.options import options_of

BOUNDS: Mapping[str, tuple[float, float]] = {
    "num_classes": (1, math.inf),
    "embedding_dim": (1, math.inf),
    "batch_size": (1, math.inf),
    "island_weight": (0, 1),
    "momentum": (0, 1),
    "center_weight": (0, math.inf),
    "center_rate": (0, math.inf),
    "scale": (0, math.inf),
    "gamma": (0, math.inf),
    "lambda_min": (0, math.inf),
    "lambda_max": (0, math.inf),
}


def check_arguments(loss: Loss, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a Loss, with the defaults filled in.

    Raises:
        ValueError: if an argument is unknown, missing, of the wrong type or out of its bounds.
    """
    known = loss.arguments
    for name in arguments:
        if name not in known:
            choices = ", ".join((*known, *options_of(loss))) or "none"
            raise ValueError(f"{loss.name}: unknown argument {name!r}; it takes: {choices}")
    complete = {}
    for name, parameter in known.items():
        value = arguments.get(name, parameter.default)
        if value is inspect.Parameter.empty:
            raise ValueError(f"{loss.name}: argument {name!r} is missing")
        _check_argument(loss, parameter, value)
        complete[name] = value
    return complete


def _check_argument(loss: Loss, parameter: inspect.Parameter, value: Any) -> None:
    name, kind = parameter.name, parameter.annotation
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{loss.name}: {name} must be {kind.__name__}, got {value!r}")
    low, high = loss.bounds.get(name) or BOUNDS.get(name, (-math.inf, math.inf))
    # Every comparison with NaN is false, so the condition is negated to refuse NaN too.
    if not low <= value <= high or math.isinf(value):
        raise ValueError(f"{loss.name}: {name} must be from {low} to {high}, got {value!r}")
