"""A process that measures, and is replaced when it dies, hangs or runs out of memory."""

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import psutil
import torch
from pebble import ProcessExpired, ProcessPool

from lossbench.impls.outside import Origin, loaded, register_again

P = ParamSpec("P")
T = TypeVar("T")

Failure = Literal["failed", "crashed", "oom", "timeout"]

# Of Linux's prctl: which signal a process gets when its parent ends.
PR_SET_PDEATHSIG = 1
SILENT_TRACKER = "ignore::UserWarning:multiprocessing.resource_tracker"
MEMORY_SHARE = 0.9
CLOSING_SECONDS = 5.0
# How often it is looked whether there is anything left to wait for.
LOOK_SECONDS = 1.0
# After one of these every later call of the process fails as well.
BROKEN_DEVICE = ("CUDA error", "device-side assert", "CUDNN_STATUS", "CUBLAS_STATUS_EXECUTION")
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

    def __init__(
        self,
        threads: int,
        *,
        affinity: tuple[int, ...] = (),
        memory_bytes: int | None = None,
        compiled: Path | None = None,
    ) -> None:
        """Have a process started.

        Args:
            threads: that it computes with.
            affinity: the processors that it may use, by number; by default all.
            memory_bytes: how much it may allocate; by default most of what is available.
            compiled: where compiled code is kept; by default a folder of its own, so that each
                first compilation is a cold one, whatever ran here before.
        """
        self._own = None if compiled else tempfile.TemporaryDirectory(prefix="lossbench-")
        folder = compiled or Path(self._own.name if self._own else "")
        self._settings = (threads, affinity, memory_bytes, str(folder), os.getpid())
        # The compiler's semaphores outlive a worker that is ended; Python clears them away, and
        # would tell of it when the parent ends.
        os.environ.setdefault("PYTHONWARNINGS", SILENT_TRACKER)
        # torch warns of each buffer that a profile sees released and did not see allocated.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        self._pool = self._start()
        self._asked = False

    def _start(self) -> ProcessPool:
        return ProcessPool(
            max_workers=1,
            context=multiprocessing.get_context("spawn"),
            initializer=_prepare,
            initargs=self._settings,
        )

    def ask(self, timeout: float, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function of a module gives in the worker.

        Raises:
            Lost: where it raises, dies, or gives no answer within ``timeout`` seconds.
        """
        if not self._pool.active:
            self._replace()
        self._asked = True
        asked = (loaded(), question, args, kwargs)
        future = self._pool.schedule(_answer, args=asked, timeout=timeout)
        error = _wait(future, self._pool)
        self._asked = False
        if error is not None:
            lost = _lost(error, timeout)
            if lost.status == "crashed":
                self._replace()
            raise lost from None
        answer: T = future.result()
        return answer

    def close(self) -> None:
        """End the process, whatever it does: an idle one by itself, for it to leave nothing."""
        if not self._asked:
            self._pool.close()  # type: ignore[no-untyped-call]
            with suppress(FutureTimeoutError):
                self._pool.join(CLOSING_SECONDS)
        self._stop()
        if self._own:
            self._own.cleanup()

    def _replace(self) -> None:
        # Pebble itself replaces neither a process that ended while it started nor one whose device
        # has become unusable.
        self._stop()
        self._pool = self._start()

    def _stop(self) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _wait(future: Any, pool: ProcessPool) -> BaseException | None:
    """Return the exception that a future ends with, or ``None`` where it has a result.

    Pebble forgets what is asked while it finds that the process has ended: that never ends.
    """
    while True:
        try:
            error: BaseException | None = future.exception(LOOK_SECONDS)
        except FutureTimeoutError:
            if not pool.active and not future.done():
                return BrokenProcessPool()
        else:
            return error


def _lost(error: BaseException, timeout: float) -> Lost:
    if isinstance(error, FutureTimeoutError):
        return Lost("timeout", f"no answer within {timeout:.0f} s")
    if isinstance(error, BrokenProcessPool):
        return Lost("crashed", "the worker ended while it started")
    if isinstance(error, ProcessExpired):
        return Lost("crashed", f"the worker ended with {_ending(error.exitcode)}")
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    if any(sign in text for sign in BROKEN_DEVICE):
        return Lost("crashed", f"it left CUDA broken: {first}")
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return Lost("oom", first)
    return Lost("failed", f"{type(error).__name__}: {first}")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"


def _prepare(
    threads: int, affinity: tuple[int, ...], memory_bytes: int | None, compiled: str, parent: int
) -> None:
    _die_with(parent)
    # A contender that prints must not spoil what the command prints as JSON.
    os.dup2(2, 1)
    # Ctrl-C reaches the whole process group; the parent decides what becomes of the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = compiled
    # The compiler deprecates parts of itself, at every compilation anew.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
    if affinity:
        psutil.Process().cpu_affinity(list(affinity))
    torch.set_num_threads(threads)
    _cap_memory(memory_bytes)


def _answer(
    origins: Iterable[Origin], question: Callable[..., T], args: Any, kwargs: Mapping[str, Any]
) -> T:
    """Return what a function gives where the contenders from outside are the parent's."""
    # What they print while they are imported was shown by the parent.
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        register_again(origins)
    return question(*args, **kwargs)


def _die_with(parent: int) -> None:
    """Have Linux end this process with its parent, however that ends and however busy this one."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It ended before the request was made.
        os._exit(1)


def _cap_memory(memory_bytes: int | None) -> None:
    """Have an allocation beyond the machine's memory refused, before the system kills for it.

    CUDA reserves addresses far beyond what it uses, so that with it no such cap can be set: there
    the caching allocator is held to a share of the device.
    """
    if torch.cuda.is_available():
        if memory_bytes is not None:
            total = torch.cuda.get_device_properties().total_memory
            torch.cuda.set_per_process_memory_fraction(min(memory_bytes / total, 1.0))
        return
    import resource

    room = int(MEMORY_SHARE * psutil.virtual_memory().available)
    limit = psutil.Process().memory_info().vms + min(memory_bytes or room, room)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
