"""Checks of a Loss's arguments and inputs, with errors that say what was expected.

The checks of inputs read shapes and dtypes. They read values only where that needs no
synchronisation: on the CPU, in code that is not being traced. A label out of range raises a device
assertion on CUDA, and an assertion within the traced code if it is compiled or exported.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.impls.labels import check_range_of_trace
from lossbench.impls.loss import Inputs, Loss
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


class InputCheck:
    """A forward pre-hook that refuses inputs which the Loss does not define.

    It accepts labels of every integer dtype, and passes them to the implementation as int64.

    ``Implementation.build`` attaches it. It runs outside the compiled code, and is the same for
    every implementation of a Loss.
    """

    def __init__(self, loss: Loss, arguments: Mapping[str, Any]) -> None:
        self.loss = loss
        self.arguments = dict(arguments)

    def __call__(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Return the inputs with int64 labels, ``None`` if they are int64; change none in place.

        Raises:
            ValueError: if the Loss does not define these inputs.
        """
        names = self.loss.input_names
        for name in kwargs:
            if name not in names:
                self._refuse(f"unknown input {name!r}; it takes: {', '.join(names)}")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if len(args) > len(names) or set(given) != set(names):
            self._refuse(
                f"expected the inputs {', '.join(names)}, got {', '.join(given) or 'none'}"
            )
        for name, value in given.items():
            if not isinstance(value, Tensor):
                self._refuse(f"{name} must be a tensor, got {type(value).__name__}")
        SHAPE_CHECKS[self.loss.inputs](self, **given)
        if "labels" not in given or given["labels"].dtype == torch.int64:
            return None
        return (), {**given, "labels": given["labels"].long()}

    def _refuse(self, reason: str) -> None:
        raise ValueError(f"{self.loss.name}: {reason}")

    def _floating(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                self._refuse(f"{name} must be floating point, got {tensor.dtype}")

    def _matrix(self, name: str, tensor: Tensor) -> None:
        self._floating(**{name: tensor})
        if tensor.dim() != 2 or tensor.size(1) == 0:
            self._refuse(f"{name} must be [B, D], got {list(tensor.shape)}")

    def labelled(self, embeddings: Tensor, labels: Tensor) -> None:
        """Check ``embeddings [B, D]`` and ``labels [B]``."""
        self._matrix("embeddings", embeddings)
        batch, dim = embeddings.shape
        if labels.shape != (batch,):
            self._refuse(f"labels must be [{batch}], got {list(labels.shape)}")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            self._refuse(f"labels must be integers, got {labels.dtype}")
        expected_dim = self.arguments.get("embedding_dim", dim)
        if dim != expected_dim:
            self._refuse(f"embeddings must be [B, {expected_dim}], got {list(embeddings.shape)}")
        self._batch("embeddings", embeddings)
        if self.loss.needs_negatives and batch < 2:
            self._refuse("labels must be of two classes or more, got one sample")
        if torch.compiler.is_compiling():
            classes, ignored = map(self.arguments.get, ("num_classes", "ignore_index"))
            check_range_of_trace(labels, classes, ignored)
        elif labels.device.type == "cpu":
            self._label_values(labels.long())

    def _batch(self, name: str, tensor: Tensor) -> None:
        if len(tensor) == 0:
            self._refuse(f"{name} must be of one sample or more, got {list(tensor.shape)}")

    def _label_values(self, labels: Tensor) -> None:
        ignored = self.arguments.get("ignore_index")
        if ignored is not None:
            labels = labels[labels != ignored]
            if len(labels) == 0:
                return
        lowest, highest = (int(bound) for bound in labels.aminmax())
        num_classes = self.arguments.get("num_classes", math.inf)
        if lowest < 0 or highest >= num_classes:
            wrong = lowest if lowest < 0 else highest
            hint = f"; ignore_index={wrong} leaves them out" * self.loss.takes_options
            self._refuse(f"labels must be from 0 to {num_classes - 1}, got {wrong}{hint}")
        if self.loss.needs_negatives and lowest == highest:
            self._refuse(f"labels must be of two classes or more, all {len(labels)} are {lowest}")

    def pairs(self, x0: Tensor, x1: Tensor, same: Tensor) -> None:
        """Check ``x0 [B, D]``, ``x1 [B, D]`` and ``same [B]`` or ``[1]``."""
        self._matrix("x0", x0)
        self.arrays(x0, x1, names=("x0", "x1"))
        if same.dim() != 1 or len(same) not in (1, len(x0)):
            self._refuse(f"same must be [{len(x0)}] or [1], got {list(same.shape)}")
        self._batch("x0", x0)
        if same.device.type == "cpu" and not torch.compiler.is_compiling():
            self._pair_values(same)

    def _pair_values(self, same: Tensor) -> None:
        wrong = (same != 0) & (same != 1)
        if wrong.any():
            self._refuse(f"same must be 0 or 1, got {same[wrong][0].item()}")

    def rows(self, a: Tensor, b: Tensor) -> None:
        """Check ``a [M, D]`` and ``b [N, D]``."""
        self._matrix("a", a)
        self._matrix("b", b)
        if a.size(1) != b.size(1):
            self._refuse(f"b must be [N, {a.size(1)}] as a is, got {list(b.shape)}")

    def arrays(self, a: Tensor, b: Tensor, names: tuple[str, str] = ("a", "b")) -> None:
        """Check two arrays of one shape."""
        self._floating(**dict(zip(names, (a, b), strict=True)))
        if a.shape != b.shape:
            expected = f"{list(a.shape)} as {names[0]} is"
            self._refuse(f"{names[1]} must be {expected}, got {list(b.shape)}")


SHAPE_CHECKS: Mapping[Inputs, Callable[..., None]] = {
    "labelled": InputCheck.labelled,
    "pairs": InputCheck.pairs,
    "rows": InputCheck.rows,
    "arrays": InputCheck.arrays,
}
