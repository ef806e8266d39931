"""Worker processes that are forked from a server, since a fresh interpreter imports for 4 s."""

import os
import threading
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.popen_forkserver import Popen
from typing import Any

import pytest

from lossbench.bench.machine import process
from lossbench.bench.paths import ROOT

# What a worker imports before its first question, and nothing of the tests or of a contender.
IMPORTED = ("lossbench.bench.machine.serving", "scipy.special", "torch._dynamo")
# Not multiprocessing's own server, from which the tests of several ranks start their processes.
SERVER = forkserver.ForkServer()
SERVER.set_forkserver_preload(list(IMPORTED))
FRESH = process.CONTEXT
# Several threads may start workers, as for the ranks of a group.
STARTING = threading.Lock()


class ForkedPopen(Popen):
    """A start of a process by ``SERVER``, which itself starts where it can import lossbench."""

    def _launch(self, process_obj: Any) -> None:
        with STARTING, pytest.MonkeyPatch.context() as patch:
            # A worker's mark would end the server together with that worker.
            patch.delenv(process.MARK, raising=False)
            patch.chdir(ROOT)
            SERVER.ensure_running()
        with STARTING, pytest.MonkeyPatch.context() as patch:
            patch.setattr(forkserver, "connect_to_new_process", SERVER.connect_to_new_process)
            super()._launch(process_obj)


class ForkedProcess(ForkServerProcess):
    """A process with the environment variables of the one that starts it."""

    _Popen = ForkedPopen

    def start(self) -> None:
        self._environment = dict(os.environ)
        super().start()

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        super().run()


class ForkedContext(ForkServerContext):
    Process = ForkedProcess


@pytest.fixture(scope="session", autouse=True)
def _forked_workers(request):
    """Fork the workers that are started by this process, unless it measures.

    The benchmarks measure as a command does, and with what is registered as an interpreter starts.
    """
    if request.config.getoption("benchmark_enable"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "CONTEXT", ForkedContext())
        yield


@pytest.fixture
def fresh_workers(monkeypatch):
    """Start workers as a command does: each is a fresh interpreter."""
    monkeypatch.setattr(process, "CONTEXT", FRESH)
