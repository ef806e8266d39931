"""A process that measures, and is replaced when it dies, hangs, fails or was changed."""

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
    """One process, asked one thing at a time; started when it is first asked."""

    def __init__(
        self,
        threads: int,
        *,
        affinity: tuple[int, ...] = (),
        memory_bytes: int | None = None,
        compiled: Path | None = None,
    ) -> None:
        """Set how the process is to be.

        Args:
            threads: how many threads torch computes with.
            affinity: the processors that it may use, by number; by default all.
            memory_bytes: how much it may allocate; by default most of what is available.
            compiled: the folder of compiled code; by default one of its own, so that each first
                compilation is a cold one, whatever ran here before.
        """
        self._own = None if compiled else ScratchFolder()
        folder = compiled or (self._own.path if self._own else "")
        self._settings = WorkerSettings(threads, affinity, memory_bytes, str(folder), os.getpid())
        # The compiler's semaphores outlive a worker that is ended; Python clears them away, and
        # would tell of it when the parent ends.
        os.environ.setdefault("PYTHONWARNINGS", SILENT_TRACKER)
        # torch warns of each buffer that a profile sees released and did not see allocated.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        self._process: WorkerProcess | None = None
        self._asked = False

    def ask(self, timeout: float, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function of a module gives in the worker.

        Raises:
            Lost: where it raises, dies, changes the process, or gives no answer within ``timeout``
                seconds. All but a lack of memory costs the process.
        """
        process = self._process = self._process or WorkerProcess(self._settings)
        self._asked = True
        # What another process of this command loads must not be missing in this one.
        asked = (loaded(), question, args, kwargs)
        try:
            answer = process.ask(timeout, (_answer, asked, {}))
        except Lost as lost:
            # What raised may have been interrupted anywhere; an allocation is refused as a whole.
            if lost.status != "oom" or not process.alive:
                self._process = None
                process.end()
            self._asked = False
            raise
        self._asked = False
        return cast(T, answer)

    def close(self) -> None:
        """End the process, whatever it does: an idle one by itself, for it to leave nothing."""
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
    """Return the answer to a question, with the same outside contenders as in the parent."""
    # The parent has shown what they print while they are imported.
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        register_again(origins)
    return question(*args, **kwargs)
