"""What every module of Triton kernels has in common: their import, and how it is registered."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.families import NEEDS

TRITON: Mapping[str, Any] = {
    **NEEDS["triton"],
    "limits": DIFFERENTIABLE_ONCE,
}
"""What every contender here registers with, if it has no more limits."""


class OnTriton(nn.Module):
    """A base class of modules that launch kernels: it imports their operators when it is made.

    Traced code could not import them. Kernels need the package ``triton``, and so nothing imports
    them with ``lossbench``.

    Attributes:
        operators: the names of the modules of ``kernels`` that define the operators.
    """

    operators: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give a class the signature of its ``__init__``, which ``__new__`` would hide."""
        super().__init_subclass__(**kwargs)
        whole = inspect.signature(cls.__init__)
        without_self = list(whole.parameters.values())[1:]
        cls.__signature__ = whole.replace(parameters=without_self)  # type: ignore[attr-defined]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "OnTriton":
        """Import the operators; a copy and an unpickled module come here too."""
        load_kernels(*cls.operators)
        return super().__new__(cls)


def load_kernels(*operators: str) -> None:
    """Import the modules of ``kernels`` that define some operators."""
    # By this package's own name: the gate has copies of it under others.
    for name in operators:
        importlib.import_module(f"{__package__}.kernels.{name}")
