"""A question that harms its worker loses its own answer, and no other."""

import ctypes
import importlib
import math
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
import torch

from lossbench.bench.case.cases import Case
from lossbench.bench.machine import process, serving
from lossbench.bench.machine.output import PASSED_ON_BYTES
from lossbench.bench.machine.quotas import Quotas
from lossbench.bench.machine.replies import lost_to
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.judge import judge_variant


@pytest.fixture(scope="module")
def worker():
    asked = Worker(threads=1)
    yield asked
    asked.close()


def segfault():
    ctypes.string_at(0)


def hoard():
    return torch.empty(2**46, dtype=torch.uint8).numel()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def break_cuda():
    raise RuntimeError("CUDA error: device-side assert triggered")


def filled(size):
    return torch.ones(size, dtype=torch.uint8).numel()


@pytest.mark.parametrize(
    ("question", "status", "reason"),
    [
        (segfault, "crashed", "the worker ended with signal SIGSEGV"),
        (kill, "crashed", "the worker ended with signal SIGKILL"),
        (hoard, "oom", "allocate"),
    ],
)
def test_what_is_lost_is_told_and_the_worker_replaced(worker, question, status, reason):
    with pytest.raises(Lost, match=reason) as lost:
        worker.ask(60, question)
    assert lost.value.status == status
    assert worker.ask(60, abs, -3) == 3


def test_an_allocation_that_fails_in_the_stable_abi_is_a_lack_of_memory():
    text = "aoti_torch_empty_strided(2, sizes, strides) API call failed at tensors.h, line 54"
    assert lost_to(RuntimeError(text)).status == "oom"
    assert lost_to(RuntimeError("API call failed")).status == "failed"


def test_a_hanging_question_is_given_up(worker):
    with pytest.raises(Lost, match="no answer within 1 s") as lost:
        worker.ask(1, time.sleep, 600)
    assert lost.value.status == "timeout"
    assert worker.ask(60, abs, -3) == 3


def test_an_exception_is_a_failure_with_its_reason(worker):
    with pytest.raises(Lost, match="ValueError: math domain error") as lost:
        worker.ask(60, math.sqrt, -1)
    assert lost.value.status == "failed"


def cheat_the_comparison():
    """Replace a function of the harness that this process has not imported yet."""
    deviation = importlib.import_module("lossbench.bench.measure.deviation")
    deviation.relative_error = lambda *_: 0.0


def judge_after(change, case):
    change()
    return judge_variant(case, "vectorized").status


def test_the_first_question_of_a_worker_cannot_replace_what_judges_it():
    fresh = Worker(threads=1)
    try:
        with pytest.raises(Lost, match=r"it changed .*deviation\.relative_error") as lost:
            fresh.ask(60, judge_after, cheat_the_comparison, Case("center_mse", 8, 4, 3))
    finally:
        fresh.close()
    assert lost.value.status == "refused"


def workers():
    """Return the worker processes, without Python's tracker of their semaphores."""
    return {p for p in psutil.Process().children() if "spawn_main" in str(p.cmdline())}


def kill_next_worker(known):
    """Kill the first new worker process."""
    while not (new := workers() - known):
        time.sleep(0.01)
    for each in new:
        each.kill()


@pytest.mark.usefixtures("fresh_workers")
def test_a_worker_killed_while_it_starts_is_replaced():
    young, known = Worker(threads=1), workers()
    killer = threading.Thread(target=kill_next_worker, args=(known,))
    killer.start()
    try:
        with pytest.raises(Lost, match="the worker ended while it started") as lost:
            young.ask(60, abs, -3)
        assert lost.value.status == "crashed"
        killer.join()
        assert young.ask(60, abs, -3) == 3
    finally:
        young.close()


def test_a_worker_whose_device_is_broken_is_replaced(worker):
    before = worker.ask(60, os.getpid)
    with pytest.raises(Lost, match="it left CUDA broken: CUDA error: device-side assert") as lost:
        worker.ask(60, break_cuda)
    assert lost.value.status == "crashed"
    assert worker.ask(60, os.getpid) != before


def test_a_capped_worker_refuses_what_is_beyond_the_cap():
    capped = Worker(threads=1, memory_bytes=2**28)
    try:
        assert capped.ask(60, filled, 2**26) == 2**26
        with pytest.raises(Lost) as lost:
            capped.ask(60, filled, 2**29)
        assert lost.value.status == "oom"
    finally:
        capped.close()


def test_a_worker_keeps_to_its_processors():
    bound = Worker(threads=1, affinity=(0,))
    try:
        assert bound.ask(60, os.sched_getaffinity, 0) == {0}
    finally:
        bound.close()


def test_the_worker_computes_with_the_threads_it_was_given(worker):
    assert worker.ask(60, torch.get_num_threads) == 1


class MuteError(Exception):
    def __str__(self):
        return 1 / 0


class StickyError(Exception):
    def __reduce__(self):
        raise TypeError("cannot be pickled")


def raise_mute():
    raise MuteError


def raise_sticky():
    raise StickyError("this one\nhas two lines")


def raise_surrogate():
    raise RuntimeError("\udcff\x1b[2J" + 1000 * "x")


def give_what_cannot_be_pickled():
    return lambda: 0


def print_much():
    os.write(1, 2 * 10**7 * b"x")
    return 3


def leave_child():
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    raise RuntimeError(str(child.pid))


def change_threads():
    torch.set_num_threads(torch.get_num_threads() + 1)


def change_and_raise():
    torch.set_grad_enabled(False)
    raise RuntimeError("it has no grad_fn")


@pytest.mark.parametrize(
    ("question", "status", "reason"),
    [
        (raise_mute, "failed", r"^MuteError$"),
        (raise_sticky, "failed", r"^StickyError: this one$"),
        (raise_surrogate, "failed", r"^RuntimeError: \\udcff \[2Jx{450,474}\.\.\.$"),
        (sys.exit, "failed", r"^SystemExit$"),
        (give_what_cannot_be_pickled, "failed", r"pickle"),
        (change_threads, "refused", r"^it changed the number of threads from 1 to 2$"),
        (change_and_raise, "refused", r"^it changed grad mode from True to False$"),
    ],
)
def test_what_fails_or_changes_the_process_costs_the_process(worker, question, status, reason):
    before = worker.ask(60, os.getpid)
    with pytest.raises(Lost, match=reason) as lost:
        worker.ask(60, question)
    assert lost.value.status == status
    assert len(str(lost.value)) <= 500
    assert worker.ask(60, os.getpid) != before


def test_a_worker_that_leaves_without_a_word_is_not_waited_for(worker):
    start = time.monotonic()
    with pytest.raises(Lost, match="the worker ended with exit code 0") as lost:
        worker.ask(300, os._exit, 0)
    assert lost.value.status == "crashed"
    assert time.monotonic() - start < 30


def test_what_a_worker_prints_is_bounded_and_spoils_no_result(worker, capsys):
    assert worker.ask(60, print_much) == 3
    # Another thread reads the pipe, and ends with the process.
    worker.close()
    out, errors = capsys.readouterr()
    assert out == ""
    assert len(errors) < 2 * PASSED_ON_BYTES
    assert "the rest is dropped" in errors


def test_what_a_worker_started_ends_with_it(worker):
    with pytest.raises(Lost) as lost:
        worker.ask(60, leave_child)
    child = int(str(lost.value).removeprefix("RuntimeError: "))
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def limits():
    return resource.getrlimit(resource.RLIMIT_AS)


@pytest.mark.usefixtures("fresh_workers")
def test_a_limit_of_the_users_own_is_kept_and_the_hard_one_untouched():
    before, own = limits(), 2**36
    resource.setrlimit(resource.RLIMIT_AS, (own, before[1]))
    bound = Worker(threads=1)
    try:
        soft, hard = bound.ask(60, limits)
        assert soft <= own
        assert hard == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        bound.close()


def test_a_system_without_limits_of_addresses_has_no_cap(monkeypatch):
    before = limits()
    monkeypatch.setattr("sys.platform", "darwin")
    serving._cap_memory(2**30)
    serving._die_with_parent()
    assert limits() == before


def test_a_worker_that_the_system_killed_for_memory_is_out_of_memory(worker, monkeypatch):
    worker.ask(60, abs, -3)
    monkeypatch.setattr(process, "read_quotas", lambda: Quotas(oom_kills=10**9))
    with pytest.raises(Lost, match="out of memory: the worker ended with signal SIGKILL") as lost:
        worker.ask(60, kill)
    assert lost.value.status == "oom"
