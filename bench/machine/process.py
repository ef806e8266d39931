"""The parent's side of a worker process: start it, ask it, and end it."""

import itertools
import multiprocessing
import os
import pickle
import signal
import time
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any, cast

import psutil

from lossbench.bench.machine.output import WorkerOutput
from lossbench.bench.machine.quotas import read_quotas
from lossbench.bench.machine.replies import Lost, Reply, tells_of_memory
from lossbench.bench.machine.serving import WorkerSettings, serve

START_SECONDS = 180.0
CLOSING_SECONDS = 5.0
# Time between two checks that the process is alive: a child of it may keep its pipes open.
LOOK_SECONDS = 1.0
# Time between two checks that a killed process has ended.
KILLED_SECONDS = 0.001
# A fresh interpreter, not a fork: torch's threads and CUDA do not survive a fork.
CONTEXT = multiprocessing.get_context("spawn")
# The environment variable that marks a worker and all processes that it starts.
MARK = "LOSSBENCH_WORKER"
_NUMBERS = itertools.count()


class WorkerProcess:
    """A process that answers questions, and the pipes to it."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Start it, and wait until it is ready.

        Raises:
            Lost: if it ends before it is ready, or is not ready in time.
        """
        self._questions, questions = CONTEXT.Pipe()
        reader, output = CONTEXT.Pipe(duplex=False)
        # A parent that raises waits at its end for all children but daemons.
        self._process = CONTEXT.Process(
            target=serve, args=(settings, questions, output), daemon=True
        )
        self._mark = f"{os.getpid()}-{time.time_ns()}-{next(_NUMBERS)}"
        self._oom_kills = read_quotas().oom_kills
        self._start()
        questions.close()
        output.close()
        self._output = WorkerOutput(reader)
        try:
            self._receive(START_SECONDS, f"the worker did not start within {START_SECONDS:.0f} s")
        except BaseException as error:
            self.end()
            if isinstance(error, Lost) and error.status == "crashed":
                reason = str(error).replace("ended", "ended while it started", 1)
                raise Lost("crashed", reason) from None
            raise

    def _start(self) -> None:
        # The tracker belongs to the parent and serves all workers, so it starts without a mark.
        resource_tracker.ensure_running()
        os.environ[MARK] = self._mark
        try:
            self._process.start()
        finally:
            del os.environ[MARK]

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.is_alive()

    def ask(self, timeout: float, question: Any) -> Any:
        """Return the answer to a question: a function, its arguments and its keywords.

        Raises:
            Lost: if there is no answer.
        """
        with suppress(OSError):
            # If the process has ended, `_receive` reports how.
            self._questions.send_bytes(pickle.dumps(question))
        reply = self._receive(timeout, f"no answer within {timeout:.0f} s")
        return cast(Reply, reply).open()

    def _receive(self, timeout: float, late: str) -> Any:
        until = time.monotonic() + timeout
        while True:
            left = until - time.monotonic()
            wait([self._questions, self._process.sentinel], min(max(left, 0.0), LOOK_SECONDS))
            alive = self._process.is_alive()
            if self._questions.poll():
                return self._read()
            if not alive:
                raise self._ended()
            if left <= 0:
                raise Lost("timeout", late)

    def _read(self) -> Any:
        try:
            return self._questions.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self._process.join(CLOSING_SECONDS)
            raise self._ended() from None

    def _ended(self) -> Lost:
        how = f"the worker ended with {_ending(self._process.exitcode)}"
        killed = read_quotas().oom_kills > self._oom_kills
        if killed or tells_of_memory(self._output.last(LOOK_SECONDS)):
            return Lost("oom", f"out of memory: {how}")
        return Lost("crashed", how)

    def close(self) -> None:
        """Let an idle process end by itself, so that it cleans up."""
        with suppress(OSError):
            self._questions.send_bytes(b"")
        self._process.join(CLOSING_SECONDS)
        self.end()

    def end(self) -> None:
        """Kill the process and everything that it started."""
        self._process.kill()
        self._process.join()
        _end_marked(self._mark)
        self._output.last(LOOK_SECONDS)
        self._questions.close()


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def _end_marked(mark: str) -> None:
    """End the processes with a mark in their environment, which a worker left behind."""
    left = []
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get(MARK) == mark:
            with suppress(psutil.Error):
                process.kill()
                left.append(process)
    # A killed process runs on until the system gets to it, and would take part in what follows.
    until = time.monotonic() + CLOSING_SECONDS
    while any(map(_runs, left)) and time.monotonic() < until:
        time.sleep(KILLED_SECONDS)


def _runs(process: psutil.Process) -> bool:
    # Where nobody collects it, a process that has ended stays in the table as a zombie.
    with suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
