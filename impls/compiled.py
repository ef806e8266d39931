"""Derive the ``+compile`` variants: an implementation's forward under torch.compile."""

import functools
import importlib.util
import inspect
import shutil
from collections.abc import Callable, Mapping
from types import FunctionType, MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

DEFAULT_MODE = "default"
COMPILE_MODES: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "+compile": (DEFAULT_MODE, ("cpu", "cuda")),
        "+compile[max-autotune]": ("max-autotune", ("cpu", "cuda")),
        "+compile[reduce-overhead]": ("reduce-overhead", ("cuda",)),
    }
)
"""torch.compile's mode, and the devices on which it is distinct, by the suffix of a variant."""

GRAPHED_MODES = ("max-autotune", "reduce-overhead")
"""The modes that replay CUDA graphs: on CUDA the next call overwrites outputs and gradients."""

SUFFIX = "+compile"
ONE_PASS = "refused: compiled code may overwrite in its backward pass what a second one would need"


def compiled_limits(builder: Callable[..., nn.Module]) -> dict[str, str]:
    """Return the limits of the compiled variants of a builder, beside those of the eager one."""
    limits = {
        "functional": "refused by torch: compiled code takes no functorch transform",
        "double-backward": "refused by torch: compiled code has no second derivative",
        "forward-mode": "refused by torch: compiled code has no forward-mode derivative",
    }
    if _compiled_method(builder) == "forward":
        limits["retain-graph"] = ONE_PASS
    return limits


def _compiled_method(builder: Callable[..., nn.Module]) -> str:
    return getattr(builder, "compiled_method", "forward")


def is_compiled(variant: str) -> bool:
    """Return whether a variant is compiled, by its name: ``fused+compile`` is."""
    return SUFFIX in variant


def eager_of(variant: str) -> str:
    """Return the variant that a compiled one was derived from; any other is returned as it is."""
    return variant.partition(SUFFIX)[0]


def overwrites_results(mode: str, device: str) -> bool:
    """Return whether the results of a call live in memory that the next call overwrites.

    torch refuses to read them then; who needs them longer copies them after the call.

    Args:
        mode: the mode of torch.compile; empty for an eager implementation.
        device: the device type, ``cpu`` or ``cuda``.
    """
    return device == "cuda" and mode in GRAPHED_MODES


def compiled(builder: Callable[..., nn.Module], mode: str) -> Callable[..., nn.Module]:
    """Return a builder of the same module with its forward compiled as one graph.

    If the class names a ``compiled_method``, only that method is compiled. The module keeps its
    parameters' names, and hooks stay outside the compiled code. The first batch of another size
    makes the batch dynamic; after that, a new size needs no new compilation.
    """

    def build(**arguments: Any) -> nn.Module:
        module = builder(**arguments)
        # A method set on the instance would stay bound to it in a copy, so the class is replaced.
        # mypy confuses the hash of a class of modules with that of a module.
        module.__class__ = _compiled_class(type(module), mode)  # type: ignore[arg-type]
        return module

    return build


@functools.cache
def _compiled_class(eager: type[nn.Module], mode: str) -> type[nn.Module]:
    """Return the subclass of an eager class that is compiled in a mode."""
    name = _compiled_method(eager)
    function = _with_own_code(getattr(eager, name), f"{eager.__name__}_{name}")
    # fullgraph: a break in the graph raises, and does not fall back in silence.
    method: Callable[..., Any] = torch.compile(function, fullgraph=True, mode=mode)

    def call(self: nn.Module, *inputs: Any, **named: Any) -> Any:
        out = method(self, *inputs, **named)
        if name == "forward":
            _refuse_second_pass(out[0])
        return out

    # torch.export looks inputs up by name.
    call.__signature__ = inspect.signature(getattr(eager, name))  # type: ignore[attr-defined]

    def reduce(self: nn.Module) -> tuple[Any, ...]:
        return _new, (eager, mode), self.__dict__.copy()

    # Pickle finds a class by its module and name, and this class is in no module.
    return type(f"Compiled{eager.__name__}", (eager,), {name: call, "__reduce__": reduce})


def _refuse_second_pass(loss: Tensor) -> None:
    """Let the backward pass of a compiled loss raise an error if it keeps its graph.

    torch 2.13 raises one itself, but not in a process that has the code from the disk cache: there
    the second pass gives a wrong gradient in silence.
    """
    if not torch.compiler.is_compiling() and loss.grad_fn is not None:
        loss.grad_fn.register_prehook(_refuse_to_keep_graph)


def _refuse_to_keep_graph(_grads: tuple[Tensor, ...]) -> None:
    if torch._C._autograd._get_current_graph_task_keep_graph():
        raise RuntimeError(
            "a compiled loss has one backward pass, without retain_graph and create_graph: "
            "use the variant without '+compile'"
        )


def _with_own_code(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a copy of a function with a code object of its own.

    torch.compile counts how often it compiles a code object, and refuses the ninth time. Losses
    share methods, and the code that wraps them, so their counts would add up.
    """
    code = function.__code__.replace(co_name=name)
    scope, closure = function.__globals__, function.__closure__
    copy = FunctionType(code, scope, name, function.__defaults__, closure)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


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
