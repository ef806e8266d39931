"""The part of an input check that is the same for every kind of inputs.

Usual inputs pass by one expression, ``fits``, which takes one to three microseconds. All others go
through ``check``, which finds the words for the error.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from lossbench.impls.loss import Loss

PLAIN = frozenset((Tensor, nn.Parameter))
# Raised by ``fits`` for inputs of other names, other types or another number of dimensions.
UNUSUAL = (TypeError, AttributeError, ValueError, IndexError, RuntimeError)


class InputCheck(ABC):
    """A check, also a forward pre-hook, that refuses inputs which the Loss does not define.

    It accepts labels of every integer dtype, and passes them to the implementation as int64.

    ``Implementation.build`` attaches it. It runs outside the compiled code, and is the same for
    every implementation of a Loss.

    Args:
        loss: the Loss.
        arguments: the arguments and options that the module is built with.
        reads_labels: whether to read labels that are in an ordinary tensor on the CPU. False where
            the forward refuses a label that is no class; ``problem`` then finds the words.
    """

    def __init__(self, loss: Loss, arguments: Mapping[str, Any], *, reads_labels: bool) -> None:
        self.loss = loss
        self.arguments = dict(arguments)
        self.reads_labels = reads_labels

    def __call__(
        self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Return the inputs with int64 labels, ``None`` if they are int64; change none in place.

        Raises:
            ValueError: if the Loss does not define these inputs.
        """
        if is_compiling():
            return self._checked(args, kwargs)
        try:
            if self.fits(*args, **kwargs):
                return None
        except UNUSUAL:
            pass
        return self._checked(args, kwargs)

    def problem(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ValueError | None:
        """Return the error for inputs that the Loss does not define, if they are such inputs."""
        try:
            self._checked(args, kwargs)
        except ValueError as problem:
            return problem
        return None

    @abstractmethod
    def fits(self, *args: Any, **kwargs: Any) -> bool:
        """Return whether the inputs are usual ones that the Loss defines; cheap.

        It raises one of ``UNUSUAL`` where inputs are missing or are no tensors.
        """

    @abstractmethod
    def check(self, *args: Any, **kwargs: Any) -> None:
        """Refuse inputs that the Loss does not define.

        Raises:
            ValueError: if it does not; the message says what was expected and what came.
        """

    def _checked(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
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
        self.check(**given)
        if "labels" not in given or given["labels"].dtype == torch.int64:
            return None
        return (), {**given, "labels": given["labels"].long()}

    def _refuse(self, reason: str) -> NoReturn:
        raise ValueError(f"{self.loss.name}: {reason}")

    def _check_floating(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                self._refuse(f"{name} must be floating point, got {tensor.dtype}")

    def _check_matrix(self, name: str, tensor: Tensor) -> None:
        self._check_floating(**{name: tensor})
        if tensor.dim() != 2 or tensor.size(1) == 0:
            self._refuse(f"{name} must be [B, D], got {list(tensor.shape)}")

    def _check_shape(self, name: str, tensor: Tensor, other: str, wanted: Tensor) -> None:
        if tensor.shape != wanted.shape:
            expected = f"{list(wanted.shape)} as {other} is"
            self._refuse(f"{name} must be {expected}, got {list(tensor.shape)}")

    def _check_batch(self, name: str, tensor: Tensor) -> None:
        if tensor.size(0) == 0:
            self._refuse(f"{name} must be of one sample or more, got {list(tensor.shape)}")
