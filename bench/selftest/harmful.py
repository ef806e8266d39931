"""Contenders that harm their worker; each may cost its own cell, and no other."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.bench.run.records import Status
from lossbench.bench.selftest.contender import Cheat, Forward

PRINTED_BYTES = 100 * 10**6
# Far longer than any run.
OUTLIVING_SECONDS = 86_400

_done = set[str]()


class _NoTextError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class _NoPickleError(Exception):
    def __init__(self) -> None:
        super().__init__("it holds a function")
        self.held = lambda: None


def raising(error: Callable[[], BaseException]) -> Cheat:
    """Return a contender that raises an error at every call."""

    def cheat(_module: nn.Module, _forward: Forward, _x: Tensor, _y: Tensor) -> Any:
        raise error()

    return cheat


def doing(harm: Callable[[], object], *, once: bool = False) -> Cheat:
    """Return a contender that does something harmful, and then what the reference does.

    Args:
        harm: function to call.
        once: whether to call it once per process, instead of at every call.
    """

    def cheat(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
        if not once or harm.__name__ not in _done:
            _done.add(harm.__name__)
            harm()
        return forward(embeddings, labels)

    return cheat


def _crash() -> None:
    ctypes.string_at(0)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _leave() -> None:
    os._exit(0)


def _close_files() -> None:
    os.closerange(3, 1024)


def _hang() -> None:
    time.sleep(OUTLIVING_SECONDS)


def _hoard() -> None:
    held = []
    while True:
        held.append(torch.empty(2**26, dtype=torch.uint8))


def _recurse() -> None:
    _recurse()


def _print_much() -> None:
    line = b"x" * 999 + b"\n"
    for _ in range(PRINTED_BYTES // len(line)):
        os.write(1, line)


def _start_child() -> None:
    subprocess.Popen(["sleep", str(OUTLIVING_SECONDS)])


def _start_child_and_leave() -> None:
    _start_child()
    os._exit(0)


HARMS: dict[str, tuple[Cheat, Status, str]] = {
    "segmentation fault": (doing(_crash), "crashed", "SIGSEGV"),
    "abort": (doing(os.abort), "crashed", "SIGABRT"),
    "kills its process": (doing(_kill), "crashed", "SIGKILL"),
    "exit code 0": (doing(_leave), "crashed", "exit code 0"),
    "sys.exit": (raising(lambda: SystemExit(0)), "failed", "SystemExit"),
    "keyboard interrupt": (raising(KeyboardInterrupt), "failed", "KeyboardInterrupt"),
    "hangs": (doing(_hang), "timeout", "no answer within"),
    "takes all memory": (doing(_hoard), "oom", "memory"),
    "endless recursion": (doing(_recurse), "failed", "RecursionError"),
    "error without text": (raising(_NoTextError), "failed", "_NoTextError"),
    "error that cannot be pickled": (raising(_NoPickleError), "failed", "_NoPickleError: it holds"),
    "error that cannot be encoded": (
        raising(lambda: RuntimeError("\udcff\x1b[31m")),
        "failed",
        r"RuntimeError: \\udcff",
    ),
    "error of 100 MB": (raising(lambda: RuntimeError("x" * PRINTED_BYTES)), "failed", r"x\.\.\.$"),
    "prints 100 MB": (doing(_print_much, once=True), "passed", ""),
    "leaves a child process": (doing(_start_child, once=True), "passed", ""),
    "leaves a child process and exits": (
        doing(_start_child_and_leave),
        "crashed",
        "exit code 0",
    ),
    "closes all files": (doing(_close_files), "crashed", "the worker ended"),
}
"""Harmful contenders by name: the cheat, the expected status, and a pattern of the reason."""

if sys.platform != "linux":
    # Only Linux limits the addresses of a process; elsewhere it would fill the machine.
    del HARMS["takes all memory"]
