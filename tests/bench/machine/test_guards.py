"""The guard names every change that a contender makes to the shared state of the process."""

import functools
import os
import random
import signal
import time
import timeit
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.utils.benchmark
from torch.nn.modules import module as module_hooks

from lossbench.bench.machine.guards import GUARD, Guard, StateChanged, generators_untouched
from lossbench.bench.machine.shared_state import SETTINGS
from lossbench.bench.timing.clock import CpuClock


def begun():
    """Return a guard that starts within the test, as pytest changes a variable after fixtures."""
    guard = Guard()
    guard.begin()
    return guard


def settings():
    """Yield the name of the changed state, a call that changes it, and one that restores it."""
    user = signal.SIGUSR1
    yield "number of threads", torch.set_num_threads, 2, torch.get_num_threads()
    yield "grad mode from True to False", torch.set_grad_enabled, False, True
    yield "anomaly mode", torch.autograd.set_detect_anomaly, True, False
    yield "default dtype", torch.set_default_dtype, torch.float64, torch.float32
    yield "default device", torch.set_default_device, "meta", None
    yield "deterministic algorithms", torch.use_deterministic_algorithms, True, False
    yield "precision of float32 products", torch.set_float32_matmul_precision, "medium", "highest"
    yield "flushing of denormal numbers", torch.set_flush_denormal, True, False
    yield "threads of autograd", torch._C._set_multithreading_enabled, False, True
    yield "autocast's cache", torch.set_autocast_cache_enabled, False, True
    yield "autocast on the CPU", functools.partial(torch.set_autocast_enabled, "cpu"), True, False
    yield "oneDNN", torch._C._set_mkldnn_enabled, False, True
    yield "working directory", os.chdir, "/", os.getcwd()
    yield (
        "handler of SIGUSR1",
        functools.partial(signal.signal, user),
        signal.SIG_IGN,
        signal.SIG_DFL,
    )
    yield "alarms", functools.partial(signal.setitimer, signal.ITIMER_REAL), 600, 0


CHANGES = list(settings())


@pytest.mark.parametrize(
    ("told", "change", "value", "before"), CHANGES, ids=[change[0] for change in CHANGES]
)
def test_a_changed_setting_is_told(told, change, value, before):
    # The first change may import a part of torch, as that to deterministic algorithms from 2.14 on.
    change(value)
    change(before)
    guard = begun()
    change(value)
    try:
        with pytest.raises(StateChanged, match=f"^it changed .*{told}"):
            guard.check()
    finally:
        change(before)
    guard.check()


PATCHED = [
    (time, "perf_counter", "function time.perf_counter"),
    (timeit, "default_timer", "function timeit.default_timer"),
    (timeit.Timer, "timeit", "function timeit.Timer.timeit"),
    (torch.utils.benchmark, "timer", "function torch.utils.benchmark.timer"),
    (torch.autograd, "grad", "function torch.autograd.grad"),
    (torch.Tensor, "backward", "function torch._tensor.Tensor.backward|torch.Tensor.backward"),
    (torch.nn.Module, "__call__", "Module.__call__"),
    (torch.cuda.Event, "elapsed_time", "Event.elapsed_time"),
    (CpuClock, "block_seconds", "clock.CpuClock.block_seconds"),
]


@pytest.mark.parametrize(("place", "name", "told"), PATCHED, ids=[each[1] for each in PATCHED])
def test_a_patched_function_is_told(monkeypatch, place, name, told):
    guard = begun()
    monkeypatch.setattr(place, name, lambda *_: 0.0)
    with pytest.raises(StateChanged, match=told):
        guard.check()


def test_other_code_in_the_same_function_is_told(monkeypatch):
    guard = begun()
    monkeypatch.setattr(CpuClock.block_seconds, "__code__", (lambda _self, _calls: 0.0).__code__)
    with pytest.raises(StateChanged, match=r"CpuClock\.block_seconds"):
        guard.check()


def test_hooks_of_all_modules_are_told():
    guard = begun()
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    with pytest.raises(StateChanged, match="torch's _global_forward_hooks"):
        guard.check()
    handle.remove()
    # torch clears this flag itself, but does not restore it.
    module_hooks._global_is_full_backward_hook = None
    guard.check()


def test_hooks_of_saved_tensors_are_told():
    guard = begun()
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x),
        pytest.raises(StateChanged, match="the hooks of saved tensors"),
    ):
        guard.check()


def test_environment_variables_are_told(monkeypatch):
    guard = begun()
    monkeypatch.setenv("LOSSBENCH_NEW", "1")
    with pytest.raises(StateChanged, match="the environment variable LOSSBENCH_NEW"):
        guard.check()
    monkeypatch.delenv("LOSSBENCH_NEW")
    monkeypatch.delenv("PATH")
    with pytest.raises(StateChanged, match="the environment variable PATH"):
        guard.check()


def test_a_filter_of_all_warnings_is_told_and_one_of_a_package_is_not():
    guard = begun()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="a package's own")
        guard.check()
        warnings.simplefilter("ignore")
        with pytest.raises(StateChanged, match="the filters of warnings"):
            guard.check()


def test_what_is_imported_and_computed_changes_nothing():
    guard = begun()
    import this  # noqa: F401 - any module that nothing else imports

    layer = torch.nn.Linear(3, 2)
    with torch.autocast("cpu"), torch.no_grad():
        layer(torch.ones(1, 3))
    layer(torch.ones(1, 3)).sum().backward()
    guard.check()


def test_the_harness_may_change_what_no_contender_changed_before():
    guard = begun()
    with guard.own_changes():
        torch.set_default_dtype(torch.float64)
    guard.check()
    torch.set_default_dtype(torch.float32)
    with pytest.raises(StateChanged, match="the default dtype"), guard.own_changes():
        pass


def test_outside_of_a_worker_nothing_is_checked():
    with GUARD.own_changes():
        GUARD.check()


@pytest.mark.parametrize(
    ("draw", "generator"),
    [(lambda: torch.rand(1), "torch"), (np.random.rand, "NumPy"), (random.random, "Python")],
)
def test_a_draw_from_a_global_generator_is_told(draw, generator):
    with (
        pytest.raises(StateChanged, match=f"it drew from the random generator of {generator}$"),
        generators_untouched(),
    ):
        draw()


def test_a_draw_from_a_generator_of_ones_own_is_none():
    with generators_untouched():
        torch.rand(1, generator=torch.Generator().manual_seed(0))


def test_the_start_of_cuda_changes_no_setting(monkeypatch):
    names = ("the CUDA device", "the CUDA stream")
    before = [SETTINGS[name]() for name in names]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(stream_id=0))
    assert [SETTINGS[name]() for name in names] == before
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert SETTINGS["the CUDA device"]() != before[0]
