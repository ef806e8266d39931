"""The ``+compile`` variants: torch.compile over an implementation's forward, derived from it."""

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
        eager = type(module)
        name = getattr(eager, "compiled_method", "forward")
        # fullgraph: a graph that breaks raises, and does not fall back in silence.
        method: Callable[..., Any] = torch.compile(getattr(eager, name), fullgraph=True, mode=mode)

        def call(self: nn.Module, *inputs: Any, **named: Any) -> Any:
            return method(self, *inputs, **named)

        # On the class and not on the instance, where a copy would stay bound to the original.
        module.__class__ = type(f"Compiled{eager.__name__}", (eager,), {name: call})
        return module

    return build


def cannot_compile(device: str) -> str | None:
    """Return why torch.compile cannot make code for a device type here, or ``None``."""
    if device == "cuda":
        found = importlib.util.find_spec("triton") is not None
        return None if found else "torch.compile needs the package triton on CUDA"
    found = any(shutil.which(compiler) for compiler in ("g++", "clang++", "c++"))
    return None if found else "torch.compile needs a C++ compiler on the CPU, and finds none"
