"""Work that goes on after a call has returned."""

import threading
import time

import pytest
import torch

from lossbench.bench.timing import lingering
from lossbench.bench.timing.lingering import Lingering


@pytest.fixture
def one_thread():
    """Have torch compute with one thread, so that none of its own spins."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def compute(seconds):
    numbers, until = torch.ones(256, 256), time.perf_counter() + seconds
    while time.perf_counter() < until:
        numbers @ numbers


@pytest.mark.usefixtures("one_thread")
def test_a_thread_that_works_on_is_found():
    watch = Lingering()

    def call():
        threading.Thread(target=compute, args=(0.3,), daemon=True).start()

    assert watch.works_on(call)


def test_a_thread_that_is_awaited_or_idle_is_none():
    watch = Lingering()

    def awaited():
        thread = threading.Thread(target=compute, args=(0.01,))
        thread.start()
        thread.join()

    assert not watch.works_on(awaited)
    assert not watch.works_on(lambda: threading.Timer(0.01, lambda: None).start())


def test_the_threads_of_a_parallel_region_may_spin():
    numbers = torch.ones(2**20)
    assert not Lingering().works_on(lambda: numbers.exp_().fill_(1))


@pytest.mark.usefixtures("one_thread")
def test_threads_that_rest_soon_are_told_from_those_that_do_not(monkeypatch):
    watch, stop = Lingering(), threading.Event()

    def endless():
        while not stop.is_set():
            compute(0.01)

    threading.Thread(target=compute, args=(0.1,), daemon=True).start()
    assert watch.is_at_rest()
    monkeypatch.setattr(lingering, "REST_TRIES", 5)
    threading.Thread(target=endless, daemon=True).start()
    try:
        assert not watch.is_at_rest()
    finally:
        stop.set()
