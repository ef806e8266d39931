"""The global state of a process, which all contenders share: settings, hooks, functions."""

import functools
import gc
import math
import os
import random
import signal
import sys
import time
import timeit
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, TypeGuard

import torch
import torch.profiler
import torch.utils.benchmark
from torch import backends
from torch.nn.modules import module as module_hooks
from torch.utils import deterministic

from lossbench.bench.machine.precision import PRECISION
from lossbench.bench.machine.quotas import allowed_processors

# A denormal number: it becomes 0 if denormal numbers are flushed.
DENORMAL = 2.0**-1060
ALARMS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
# Modules and classes with the functions that are called while a contender is checked or timed.
CALLED: tuple[types.ModuleType | type, ...] = (
    *(gc, math, os, random, signal, time, timeit, timeit.Timer, warnings),
    *(torch, torch.Tensor, torch.autograd, torch.cuda, torch.linalg, torch.nn, torch.nn.Module),
    *(torch.nn.functional, torch.profiler, torch.utils.benchmark),
    *(torch.cuda.Event, torch.cuda.Stream, torch.cuda.CUDAGraph),
)
OWN = "lossbench."
FUNCTIONS = (
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType),
    *(types.WrapperDescriptorType, functools._lru_cache_wrapper),
    *(type, staticmethod, classmethod, property),
)


def _denormal() -> bool:
    tiny = torch.full((), DENORMAL, dtype=torch.float64, device="cpu")
    return bool((tiny * 2).item() > 0)


def _is_general(_action: object, text: object, kind: Any, module: object, line: int) -> bool:
    """Return whether a filter applies to all warnings of a category of Python or torch.

    Packages add other filters, for their own warnings, when they are imported.
    """
    return text is None and module is None and not line and kind.__module__ in ("builtins", "torch")


def _attribute(owner: object, name: str) -> Callable[[], Any]:
    """Return a reader of an attribute that torch's type stubs do not declare."""
    return lambda: attrgetter(name)(owner)


def _cuda(read: Callable[[], int]) -> int:
    """Return a number that is read from CUDA; 0 before CUDA starts, since a read would start it.

    0 is what CUDA starts with, so a contender is not blamed for starting it.
    """
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return read() if started else 0


def _limits() -> object:
    import resource

    return [resource.getrlimit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]


SETTINGS: Mapping[str, Callable[[], object]] = {
    "the number of threads": torch.get_num_threads,
    "the number of interop threads": torch.get_num_interop_threads,
    "grad mode": torch.is_grad_enabled,
    "inference mode": torch.is_inference_mode_enabled,
    "anomaly mode": torch.is_anomaly_enabled,
    "the check for NaN of anomaly mode": torch.is_anomaly_check_nan_enabled,
    "autocast on the CPU": lambda: torch.is_autocast_enabled("cpu"),
    "autocast on CUDA": lambda: torch.is_autocast_enabled("cuda"),
    "autocast's dtype on the CPU": lambda: torch.get_autocast_dtype("cpu"),
    "autocast's dtype on CUDA": lambda: torch.get_autocast_dtype("cuda"),
    "autocast's cache": torch.is_autocast_cache_enabled,
    "the default dtype": torch.get_default_dtype,
    "the default device": lambda: str(torch.get_default_device()),
    "deterministic algorithms": torch.are_deterministic_algorithms_enabled,
    "warnings of deterministic algorithms": torch.is_deterministic_algorithms_warn_only_enabled,
    "the filling of uninitialized memory": _attribute(deterministic, "fill_uninitialized_memory"),
    **PRECISION,
    "cuDNN": lambda: backends.cudnn.enabled,
    "cuDNN's benchmark mode": lambda: backends.cudnn.benchmark,
    "cuDNN's deterministic mode": lambda: backends.cudnn.deterministic,
    "oneDNN": lambda: backends.mkldnn.enabled,
    "the flushing of denormal numbers": _denormal,
    "torch's dispatch modes": torch._C._len_torch_dispatch_stack,
    "torch's function modes": torch._C._len_torch_function_stack,
    "torch's function overrides": torch._C._is_torch_function_enabled,
    "the hooks of saved tensors": lambda: torch._C._autograd._top_saved_tensors_default_hooks(True),
    "the threads of autograd": torch._C._is_multithreading_enabled,
    "the tracing state": torch._C._get_tracing_state,
    "the CUDA device": lambda: _cuda(torch.cuda.current_device),
    "the CUDA stream": lambda: _cuda(lambda: torch.cuda.current_stream().stream_id),
    "the filters of warnings": lambda: [f for f in warnings.filters if _is_general(*f)],
    "the working directory": os.getcwd,
    "the alarms": lambda: [signal.getitimer(kind)[0] > 0 for kind in ALARMS],
    "the processors it runs on": allowed_processors,
    "the priority of the process": lambda: os.getpriority(os.PRIO_PROCESS, 0),
    "the limits of memory": _limits,
    "the streams of output": lambda: (sys.stdin, sys.stdout, sys.stderr),
    "the tracing of Python": lambda: (sys.gettrace(), sys.getprofile()),
    "the switch interval": sys.getswitchinterval,
    "the garbage collector": lambda: (gc.isenabled(), gc.get_threshold(), gc.get_debug()),
}
"""The functions that read each global setting, by its name in a reason."""


def _hooks() -> Iterator[tuple[str, object]]:
    """Yield the global hooks, which all modules share."""
    for name, value in vars(module_hooks).items():
        if name.startswith("_global_"):
            yield name, list(value.items()) if isinstance(value, dict) else value


def _spaces() -> Iterator[types.ModuleType | type]:
    """Yield the modules and classes of the functions that the harness calls."""
    own = [module for name, module in list(sys.modules.items()) if name.startswith(OWN)]
    yield from CALLED
    yield from own
    for module in own:
        yield from (v for v in list(vars(module).values()) if _is_class(v) and _of(module, v))


# Thousands of values of few types are looked at before and after each contender.
@functools.cache
def _is_function(kind: type) -> bool:
    return issubclass(kind, FUNCTIONS)


def _functions() -> Iterator[tuple[str, object]]:
    """Yield functions and classes by name; a replaced one is another object."""
    for space in _spaces():
        # Two modules may have classes of one name, so a class is named with its module.
        place = f"{space.__module__}.{space.__qualname__}" if _is_class(space) else space.__name__
        for name, value in list(vars(space).items()):
            if _is_function(type(value)):  # type: ignore[arg-type]
                yield f"{place}.{name}", value


def _codes() -> Iterator[tuple[types.FunctionType, object]]:
    """Yield the code of each function in Python, which can be replaced within the function."""
    for space in _spaces():
        for value in list(vars(space).values()):
            if type(value) is types.FunctionType:
                yield value, value.__code__


def _of(module: types.ModuleType, value: type) -> bool:
    return value.__module__ == module.__name__


def _is_class(value: object) -> TypeGuard[type]:
    return isinstance(value, type)


NAMED: Mapping[str, Callable[[], Iterable[tuple[Any, object]]]] = {
    "the environment variable": os.environ.items,
    "the handler of": lambda: ((s.name, signal.getsignal(s)) for s in signal.Signals),
    "torch's": _hooks,
    "the function": _functions,
    "the code of": _codes,
}
"""The functions that read all state of a kind, by kind: each gives pairs of name and value.

The name of a code is the function that has it. All are read for every contender, so they make few
objects that last: many would start Python's garbage collector, which looks at all that torch has.
"""
