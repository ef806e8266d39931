"""A process that measures, and is replaced when it dies, hangs or runs out of memory."""

import multiprocessing
import os
import signal
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Literal, ParamSpec, TypeVar

import psutil
import torch
from pebble import ProcessExpired, ProcessPool

P = ParamSpec("P")
T = TypeVar("T")

Failure = Literal["failed", "crashed", "oom", "timeout"]

MEMORY_SHARE = 0.9
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


class Lost(Exception):  # noqa: N818 - what was lost is an answer, and the caller goes on
    """What was asked of the worker gave no answer.

    Attributes:
        status: how it was lost.
    """

    def __init__(self, status: Failure, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Worker:
    """One process, asked one thing at a time.

    A fresh interpreter, not a fork: torch's threads and CUDA do not survive one.
    """

    def __init__(self, threads: int) -> None:
        """Have a process started that computes with so many threads."""
        self._compiled = tempfile.TemporaryDirectory(prefix="lossbench-")
        self._pool = ProcessPool(
            max_workers=1,
            context=multiprocessing.get_context("spawn"),
            initializer=_prepare,
            initargs=(threads, self._compiled.name),
        )

    def ask(self, timeout: float, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function of a module gives in the worker.

        Raises:
            Lost: where it raises, dies, or gives no answer within ``timeout`` seconds.
        """
        future = self._pool.schedule(question, args=args, kwargs=kwargs, timeout=timeout)
        error = _wait(future)
        if error is not None:
            raise _lost(error, timeout) from None
        answer: T = future.result()
        return answer

    def close(self) -> None:
        """End the process, whatever it does."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()
        self._compiled.cleanup()


def _wait(future: Any) -> BaseException | None:
    error: BaseException | None = future.exception()
    return error


def _lost(error: BaseException, timeout: float) -> Lost:
    if isinstance(error, FutureTimeoutError):
        return Lost("timeout", f"no answer within {timeout:.0f} s")
    if isinstance(error, ProcessExpired):
        return Lost("crashed", f"the worker ended with {_ending(error.exitcode)}")
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return Lost("oom", first)
    return Lost("failed", f"{type(error).__name__}: {first}")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"


def _prepare(threads: int, compiled: str) -> None:
    # A folder of the run's own: the first compilation is a cold one, whatever ran here before.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled
    # Ctrl-C reaches the whole process group; the parent decides what becomes of the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The compiler deprecates parts of itself, at every compilation anew.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
    torch.set_num_threads(threads)
    _cap_memory()


def _cap_memory() -> None:
    """Have an allocation beyond the machine's memory refused, before the system kills for it.

    CUDA reserves addresses far beyond what it uses, so that with it no such cap can be set.
    """
    if torch.cuda.is_available():
        return
    import resource

    room = int(MEMORY_SHARE * psutil.virtual_memory().available)
    limit = psutil.Process().memory_info().vms + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
