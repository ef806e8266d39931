"""The ``+compile`` variants: torch.compile over an implementation's forward, derived from it."""

import functools
import importlib.util
import shutil
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

COMPILE_MODES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "+compile": ("default", ("cpu", "cuda")),
        "+compile[max-autotune]": ("max-autotune", ("cpu", "cuda")),
        "+compile[reduce-overhead]": ("reduce-overhead", ("cuda",)),
    }
)
"""Suffix of a variant: torch.compile's mode, and the devices on which it differs from others."""

COMPILED_LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "functional": "refused by torch: compiled code takes no functorch transform",
        "double-backward": "refused by torch: compiled code has no second derivative",
    }
)
"""The limits of every compiled variant, beside those of the eager one."""

SUFFIX = "+compile"


def is_compiled(variant: str) -> bool:
    """Return whether a variant is compiled, which its name tells: ``fused+compile``."""
    return SUFFIX in variant


def eager_of(variant: str) -> str:
    """Return the variant that a compiled one was derived from; any other is returned as it is."""
    return variant.partition(SUFFIX)[0]


def compiled(builder: Callable[..., nn.Module], mode: str) -> Callable[..., nn.Module]:
    """Return a builder of the same module whose forward is compiled as one graph.

    Of a class that names a ``compiled_method`` that one alone is compiled. The module keeps its
    parameters' names, and hooks stay outside of what is compiled. A batch of another size makes
    the batch dynamic, after which sizes are no longer compiled for one by one.
    """

    def build(**arguments: Any) -> nn.Module:
        module = builder(**arguments)
        # On the class and not on the instance, where a copy would stay bound to the original.
        # mypy takes the hash of a class of modules for that of a module.
        module.__class__ = _compiled_class(type(module), mode)  # type: ignore[arg-type]
        return module

    return build


@functools.cache
def _compiled_class(eager: type[nn.Module], mode: str) -> type[nn.Module]:
    """Return the class of the modules of an eager class that are compiled in a mode."""
    name = getattr(eager, "compiled_method", "forward")
    # fullgraph: a graph that breaks raises, and does not fall back in silence.
    method: Callable[..., Any] = torch.compile(getattr(eager, name), fullgraph=True, mode=mode)

    def call(self: nn.Module, *inputs: Any, **named: Any) -> Any:
        return method(self, *inputs, **named)

    def reduce(self: nn.Module) -> tuple[Any, ...]:
        return _new, (eager, mode), self.__dict__.copy()

    # Pickle finds a class by its module and name, of which this one has none.
    return type(f"Compiled{eager.__name__}", (eager,), {name: call, "__reduce__": reduce})


def _new(eager: type[nn.Module], mode: str) -> nn.Module:
    """Return a module without parameters, for pickle and deepcopy to fill."""
    kind = _compiled_class(eager, mode)  # type: ignore[arg-type]
    return kind.__new__(kind)


def cannot_compile(device: str) -> str | None:
    """Return why torch.compile cannot make code for a device type here, or ``None``."""
    if device == "cuda":
        found = importlib.util.find_spec("triton") is not None
        return None if found else "torch.compile needs the package triton on CUDA"
    found = any(shutil.which(compiler) for compiler in ("g++", "clang++", "c++"))
    return None if found else "torch.compile needs a C++ compiler on the CPU, and finds none"
