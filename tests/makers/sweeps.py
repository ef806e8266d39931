"""Make plans, watchers and real dask workers for the tests of sweeps."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

from lossbench.bench.case.cases import Case
from lossbench.bench.paths import ROOT
from lossbench.bench.run.plan import RunPlan

CASES = tuple(
    Case(loss, batch=batch, dim=4, classes=3)
    for batch in (8, 16, 24)
    for loss in ("center_mse", "vector_distance")
)
START_SECONDS = 300


def sweep_plan(cases=CASES, **changes):
    """Return a plan of tiny cases, each of the reference and one variant."""
    asked = {"budget_seconds": 0.05, "timeout_seconds": 120, "threads": 1, "machine": "test"}
    return RunPlan(
        tuple((case, ("reference", "vectorized")) for case in cases), **{**asked, **changes}
    )


class Seen:
    """A watcher that keeps what it is shown."""

    def __init__(self):
        self.begun, self.cells, self.notes, self.busy = [], [], [], {}

    def working(self, case, task):
        self.begun.append((case, task))

    def recorded(self, record):
        self.cells.append(record.cell)

    def measuring(self, worker, case, task=""):
        self.busy.pop(worker, None)
        if case is not None:
            self.busy[worker] = (case, task)
            self.begun.append((worker, case, task))

    def noted(self, line):
        self.notes.append(line)


@contextmanager
def dask_processes(folder, workers):
    """Run a scheduler and workers on loopback; give its address and the processes by name."""
    place, processes = folder / "scheduler.json", {}

    def start(*arguments):
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        command += ["--scheduler-file", str(place), "--host", "127.0.0.1"]
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    try:
        processes["scheduler"] = start("scheduler", "--port", "0")
        for name in workers:
            processes[name] = start("worker", "--nthreads", "1", "--no-nanny", "--name", name)
        address = _address(place, processes["scheduler"])
        _wait_for(address, len(workers))
        yield address, processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def _address(place, scheduler):
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and scheduler.poll() is None:
        try:
            return json.loads(place.read_text())["address"]
        except (FileNotFoundError, ValueError):
            time.sleep(0.1)
    raise AssertionError((place.parent / "log").read_text())


def _wait_for(address, workers):
    from distributed import Client

    with Client(address, timeout=START_SECONDS, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=START_SECONDS)
