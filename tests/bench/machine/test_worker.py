"""What a question can do to the worker costs its own answer, and no other."""

import ctypes
import math
import os
import signal
import threading
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import psutil
import pytest
import torch

from lossbench.bench.machine.worker import Lost, Worker, _wait


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


def test_a_hanging_question_is_given_up(worker):
    with pytest.raises(Lost, match="no answer within 1 s") as lost:
        worker.ask(1, time.sleep, 600)
    assert lost.value.status == "timeout"
    assert worker.ask(60, abs, -3) == 3


def test_an_exception_is_a_failure_with_its_reason(worker):
    with pytest.raises(Lost, match="ValueError: math domain error") as lost:
        worker.ask(60, math.sqrt, -1)
    assert lost.value.status == "failed"


def workers():
    """Return the processes of workers, and not Python's tracker of their semaphores."""
    return {p for p in psutil.Process().children() if "spawn_main" in str(p.cmdline())}


def kill_next_worker(known):
    """Kill the first worker that there was not before."""
    while not (new := workers() - known):
        time.sleep(0.01)
    for process in new:
        process.kill()


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


def test_what_a_broken_pool_forgot_is_not_waited_for():
    young, known = Worker(threads=1), workers()
    killer = threading.Thread(target=kill_next_worker, args=(known,))
    killer.start()
    try:
        # Reading whether it is active starts it.
        while young._pool.active:
            time.sleep(0.01)
        killer.join()
        assert isinstance(_wait(Future(), young._pool), BrokenProcessPool)
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
