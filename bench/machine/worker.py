"""A worker: a process that measures, replaced if it dies, hangs, fails or changes its state."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from lossbench.bench.machine.process import WorkerProcess
from lossbench.bench.machine.replies import Failure, Lost
from lossbench.bench.machine.scratch import ScratchFolder
from lossbench.bench.machine.serving import WorkerSettings
from lossbench.impls.outside import Origin, loaded, register_again

__all__ = ["Failure", "Lost", "Worker"]

P = ParamSpec("P")
T = TypeVar("T")

SILENT_TRACKER = "ignore::UserWarning:multiprocessing.resource_tracker"


class Worker:
    """A process that answers one question at a time; the first question starts it."""

    def __init__(
        self,
        threads: int,
        *,
        affinity: tuple[int, ...] = (),
        memory_bytes: int | None = None,
        compiled: Path | None = None,
    ) -> None:
        """Set the settings of the process.

        Args:
            threads: the number of threads that torch computes with.
            affinity: the processors that it may use, by number; by default all.
            memory_bytes: the memory that it may allocate; by default 90% of the available memory,
                or on CUDA no limit.
            compiled: the folder of compiled code; by default a new one, so that every first
                compilation is cold.
        """
        self._own = None if compiled else ScratchFolder()
        folder = compiled or (self._own.path if self._own else "")
        self._settings = WorkerSettings(threads, affinity, memory_bytes, str(folder))
        # The compiler's semaphores outlive a killed worker; Python removes them when the parent
        # ends, and would print a warning.
        os.environ.setdefault("PYTHONWARNINGS", SILENT_TRACKER)
        # torch warns of each buffer that was allocated before a profile and released within it.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        self._process: WorkerProcess | None = None
        self._asked = False

    def ask(self, timeout: float, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function of a module in the worker, and return its value.

        Raises:
            Lost: if the function raises, kills or changes the process, or gives no answer within
                ``timeout`` seconds. The process is then ended, except after a lack of memory.
        """
        process = self._process = self._process or WorkerProcess(self._settings)
        self._asked = True
        # The worker needs the contenders from outside that this command has loaded until now.
        asked = (loaded(), question, args, kwargs)
        try:
            answer = process.ask(timeout, (_answer, asked, {}))
        except Lost as lost:
            # An exception may leave any state half changed; a refused allocation changes nothing.
            if lost.status != "oom" or not process.alive:
                self._process = None
                process.end()
            self._asked = False
            raise
        self._asked = False
        return cast(T, answer)

    def close(self) -> None:
        """End the process: kill a busy one, and let an idle one end by itself and clean up."""
        process, self._process = self._process, None
        if process and self._asked:
            process.end()
        elif process:
            process.close()
        if self._own:
            self._own.remove()


def _answer(
    origins: Iterable[Origin], question: Callable[..., T], args: Any, kwargs: Mapping[str, Any]
) -> T:
    """Return the answer to a question, with the parent's contenders from outside registered."""
    # The parent has shown already what they print while they are imported.
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        register_again(origins)
    return question(*args, **kwargs)
