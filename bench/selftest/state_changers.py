"""Changes of the shared state of a process that a contender could leave to the others."""

import gc
import os
import random
import signal
import sys
import time
import timeit
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import torch
import torch.utils.benchmark
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from lossbench.bench.measure import deviation
from lossbench.bench.selftest.contender import Cheat, Forward

# What is left behind must live as long as the process.
_LEFT = list[object]()


class _Passing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that sees every operator, and changes none."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def leaving(change: Callable[[], object]) -> Cheat:
    """Return a contender that computes what the reference does, and leaves a change behind."""

    def cheat(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
        out = forward(embeddings, labels)
        change()
        return out

    return cheat


def _patch(owner: object, name: str, value: object) -> Callable[[], object]:
    """Return a function that replaces an attribute for good."""
    return lambda: setattr(owner, name, value)


def _enter(context: Callable[[], Any]) -> Callable[[], object]:
    """Return a function that enters a context once, and never leaves it."""

    def enter() -> None:
        if context not in _LEFT:
            entered = context()
            _LEFT.extend((context, entered, entered.__enter__()))

    return enter


def _small_address_space() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**33, hard))


def _standstill() -> float:
    return 0.0


SETTINGS: dict[str, tuple[Callable[[], object], str]] = {
    "threads": (lambda: torch.set_num_threads(7), "the number of threads"),
    "grad mode": (lambda: torch.set_grad_enabled(False), "grad mode"),
    "inference mode": (_enter(lambda: torch.inference_mode()), "inference mode"),
    "anomaly mode": (lambda: torch.autograd.set_detect_anomaly(True), "anomaly mode"),
    "default dtype": (lambda: torch.set_default_dtype(torch.float64), "the default dtype"),
    "default device": (lambda: torch.set_default_device("meta"), "the default device"),
    "deterministic algorithms": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        "deterministic algorithms",
    ),
    "precision of products": (
        lambda: torch.set_float32_matmul_precision("medium"),
        "the precision of float32 products",
    ),
    "flushed denormal numbers": (
        lambda: torch.set_flush_denormal(True),
        "the flushing of denormal numbers",
    ),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), "autocast on the CPU"),
    "filters of warnings": (lambda: warnings.simplefilter("ignore"), "the filters of warnings"),
    "environment variable": (
        lambda: os.environ.update(OMP_WAIT_POLICY="passive"),
        "the environment variable OMP_WAIT_POLICY",
    ),
    "working directory": (lambda: os.chdir("/"), "the working directory"),
    "signal handler": (
        lambda: signal.signal(signal.SIGUSR1, signal.SIG_IGN),
        "the handler of SIGUSR1",
    ),
    "alarm": (lambda: signal.setitimer(signal.ITIMER_REAL, 3600), "the alarms"),
    "garbage collector": (gc.disable, "the garbage collector"),
    "profile function": (lambda: sys.setprofile(lambda *_: None), "the tracing of Python"),
    "switch interval": (lambda: sys.setswitchinterval(1.0), "the switch interval"),
    "priority": (lambda: os.nice(1), "the priority of the process"),
    "limit of memory": (_small_address_space, "the limits of memory"),
    "standard error": (lambda: setattr(sys, "stderr", sys.__stdout__), "the streams of output"),
    "dispatch mode": (_enter(_Passing), "torch's dispatch modes"),
    "hook of all modules": (
        lambda: module_hooks.register_module_forward_hook(lambda *_: None),
        "torch's _global_forward_hooks",
    ),
    "hooks of saved tensors": (
        _enter(lambda: torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)),
        "the hooks of saved tensors",
    ),
}
"""Settings by name: the function that changes one, and what the refusal must call it."""

CLOCKS: dict[str, tuple[Callable[[], object], str]] = {
    "time.perf_counter": (
        _patch(time, "perf_counter", _standstill),
        "the function time.perf_counter",
    ),
    "timeit.default_timer": (
        _patch(timeit, "default_timer", _standstill),
        "the function timeit.default_timer",
    ),
    "torch's timer": (
        _patch(torch.utils.benchmark, "timer", _standstill),
        "the function torch.utils.benchmark.timer",
    ),
    "an event of CUDA": (
        _patch(torch.cuda.Event, "elapsed_time", _standstill),
        r"the function torch\.cuda\..*Event\.elapsed_time",
    ),
}
"""Clocks by name, and the function that stops each for good."""

FUNCTIONS: dict[str, tuple[Callable[[], object], str]] = {
    "function of torch": (
        _patch(torch.nn.functional, "normalize", torch.nn.functional.relu),
        "the function torch.nn.functional.normalize",
    ),
    "comparison with the reference": (
        _patch(deviation, "relative_error", lambda *_: 0.0),
        r"the function lossbench\.bench\.measure\.deviation\.relative_error",
    ),
}
"""Functions by name, and the function that replaces each for good."""

DRAWS: dict[str, tuple[Callable[[], object], str]] = {
    "torch's random numbers": (lambda: torch.rand(1), "it drew from the random generator of torch"),
    "Python's random numbers": (random.random, "it drew from the random generator of Python"),
    "NumPy's random numbers": (np.random.random, "it drew from the random generator of NumPy"),
    "seeds": (lambda: torch.manual_seed(0), "it drew from the random generator of torch"),
}
"""Random generators by name, and the function that advances each."""
