"""Load the native operators, and say what shapes they return.

Nothing is built or loaded at import. A native module loads the library when it is made: traced code
cannot.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.families import NEEDS
from lossbench.impls.native.build import library, problem
from lossbench.impls.native.shapes import FAKES
from lossbench.impls.precision import widened

NAMESPACE = "lossbench_native"
NATIVE: Mapping[str, Any] = {
    **NEEDS["native"],
    "limits": DIFFERENTIABLE_ONCE,
    "problem": problem,
}
"""What every native contender registers with, if it has no more limits."""

_loaded = False


def load() -> None:
    """Load the library, built if need be, and register what tracing needs.

    Raises:
        NativeBuildError: if it cannot be built.
    """
    global _loaded
    if _loaded:
        return
    torch.ops.load_library(str(library()))  # type: ignore[no-untyped-call]
    for name, shapes in FAKES.items():
        torch.library.register_fake(f"{NAMESPACE}::{name}", shapes)
    _loaded = True


class Native(nn.Module):
    """A base class of modules that call native operators: it loads them."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give a class the signature of its ``__init__``, which ``__new__`` would hide."""
        super().__init_subclass__(**kwargs)
        whole = inspect.signature(cls.__init__)
        without_self = list(whole.parameters.values())[1:]
        cls.__signature__ = whole.replace(parameters=without_self)  # type: ignore[attr-defined]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Native":
        """Load the operators; a copy and an unpickled module come here too."""
        load()
        return super().__new__(cls)


def alike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return two inputs in one dtype."""
    if a.dtype is b.dtype:
        return a, b
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)


def wide(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return two inputs in one dtype, float32 or float64, for gradients made with the loss.

    In half precision these would underflow before they are multiplied by a large scale.
    """
    a, b = alike(a, b)
    if a.element_size() >= 4:
        return a, b
    dtype = widened(a.dtype)
    return a.to(dtype), b.to(dtype)
