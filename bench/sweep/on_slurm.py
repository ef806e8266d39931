"""Hand the Cases of a run to SLURM by submitit: a job array with a job for each Case."""

import os
import pickle
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

from lossbench.bench.errors import UsageError
from lossbench.bench.limits import sampling_seconds
from lossbench.bench.machine.replies import describe
from lossbench.bench.paths import IMPORT_FOLDER
from lossbench.bench.run.records import Record
from lossbench.bench.sweep.orders import (
    Errand,
    OrderRefusal,
    SweepOrder,
    SweepWatcher,
    check_finished,
    current_software,
    missing_extra,
)
from lossbench.bench.sweep.station import serve

FILES = "slurm"
"""Folder of the jobs' files in that of the run."""
LOOK_SECONDS = 2.0
START_SECONDS = 600.0
"""Time in which a job loads its software and starts the processes that measure."""


def slurm_engine() -> "SlurmEngine":
    """Return the engine of the SLURM cluster that this machine belongs to.

    Raises:
        UsageError: if SLURM's commands or submitit are not installed.
    """
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise missing_extra("submitit", error) from error
    if shutil.which("sbatch") is None:
        raise UsageError(
            "no SLURM here: the command sbatch is not found; expected a login node of a cluster, "
            "or take --on dask://HOST:PORT or --on local:4"
        )
    return SlurmEngine()


class SlurmEngine:
    """The nodes of a SLURM cluster; each job has a node for itself."""

    def __init__(self, cluster: str = "slurm") -> None:
        """Choose submitit's executor; ``local`` runs the jobs on this machine."""
        self.cluster = cluster

    def measured(
        self, orders: Sequence[SweepOrder], watcher: SweepWatcher, folder: Path
    ) -> Iterator[list[Record]]:
        """Yield the Records of each order as soon as a job has measured it.

        All nodes must see the folder of the run: the jobs' scripts, results and logs are there.

        Raises:
            UsageError: if jobs died of an order again and again.
        """
        files, given_up = folder / FILES, list[SweepOrder]()
        pending = self._submit(map(Errand, orders), files)
        try:
            while pending:
                for job in [job for job in pending if job.done()]:
                    errand = pending.pop(job)
                    found = _records(job, errand, watcher)
                    if found is not None:
                        yield found
                    elif errand.hopeless:
                        given_up.append(errand.order)
                    else:
                        pending |= self._submit([errand], files)
                _show(pending, watcher)
                time.sleep(LOOK_SECONDS if pending else 0)
        finally:
            for job in pending:
                job.cancel(check=False)
        check_finished(given_up)

    def _submit(self, errands: Iterable[Errand], folder: Path) -> dict[Any, Errand]:
        """Submit a job array, and return the errand of each job.

        Raises:
            UsageError: if SLURM refuses it.
        """
        from submitit import AutoExecutor

        errands = list(errands)
        if not errands:
            return {}
        executor = AutoExecutor(folder, cluster=self.cluster)
        executor.update_parameters(**_parameters([errand.order for errand in errands]))
        software = current_software()
        orders = [pickle.dumps(errand.order) for errand in errands]
        try:
            with _importable():
                jobs = executor.map_array(_serve_job, [software] * len(orders), orders)
        except (OSError, RuntimeError) as error:
            raise UsageError(f"SLURM takes no job: {describe(error)}") from error
        return dict(zip(jobs, errands, strict=True))


def _parameters(orders: Sequence[SweepOrder]) -> dict[str, Any]:
    """Return what submitit asks of SLURM for each job: a node with all of its processors."""
    asked = {
        "name": "lossbench",
        "timeout_min": ceil(max(map(_limit_seconds, orders)) / 60),
        "slurm_exclusive": True,
        "slurm_srun_args": ["--cpu-bind=none"],
    }
    needs_gpu = any(order.case.device == "cuda" for order in orders)
    return asked | ({"gpus_per_node": 1} if needs_gpu else {})


def _limit_seconds(order: SweepOrder) -> float:
    """Return the time that an order can take by the run's own limits."""
    settings, variants = order.settings, len(order.variants)
    sampling = sampling_seconds(settings.timeout_seconds, settings.budget_seconds)
    return START_SECONDS + variants * settings.timeout_seconds + settings.processes * sampling


@contextmanager
def _importable() -> Iterator[None]:
    """Let the jobs, which inherit the environment, import lossbench from where it is here."""
    former = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(IMPORT_FOLDER), former)))
    try:
        yield
    finally:
        if former is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = former


def _serve_job(software: Mapping[str, str], order: bytes) -> bytes:
    """Answer an order in a job; its log has what it begins."""
    return serve(software, order, lambda task: print(task, flush=True))


def _records(job: Any, errand: Errand, watcher: SweepWatcher) -> list[Record] | None:
    """Return the Records of a job that has ended, or tell and count that there are none."""
    watcher.measuring(_name(job), None)
    try:
        found: list[Record] | OrderRefusal = pickle.loads(job.result())
    except Exception as error:  # noqa: BLE001 - submitit raises what the job has raised, and more
        what = f"ended without records ({describe(error)})"
    else:
        if not isinstance(found, OrderRefusal):
            return found
        what = f"is refused ({found.reason})"
    errand.failures += 1
    watcher.noted(f"{_name(job)} {what}: {errand.order} {errand.next_step}")
    return None


def _show(pending: Mapping[Any, Errand], watcher: SweepWatcher) -> None:
    for job, errand in pending.items():
        if job.state == "RUNNING":
            watcher.measuring(_name(job), errand.order.case, "running")


def _name(job: Any) -> str:
    return f"job {job.job_id}"
