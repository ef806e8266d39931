"""What a question can do to the worker costs its own answer, and no other."""

import ctypes
import math
import os
import signal
import time

import pytest
import torch

from bench.worker import Lost, Worker


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


def test_the_worker_computes_with_the_threads_it_was_given(worker):
    assert worker.ask(60, torch.get_num_threads) == 1
