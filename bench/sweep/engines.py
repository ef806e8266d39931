"""The engines that ``--on`` names, and a run on one of them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lossbench.bench.errors import UsageError
from lossbench.bench.machine.quotas import allowed_processors
from lossbench.bench.run.appending import record_file
from lossbench.bench.run.plan import RunPlan
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.running import tasks_left
from lossbench.bench.sweep.on_dask import dask_engine, local_engine
from lossbench.bench.sweep.on_slurm import slurm_engine
from lossbench.bench.sweep.orders import SweepEngine, SweepOrder, SweepWatcher

ENGINES = "dask://HOST:PORT, local:N with N workers, or slurm"
_KNOWN = re.compile(r"dask://\S+|local:[1-9]\d{0,3}|slurm")


def is_engine(name: str) -> bool:
    """Return whether a name is that of an engine."""
    return _KNOWN.fullmatch(name) is not None


def check_affinity(name: str) -> None:
    """Refuse processors of this machine for workers on others.

    Raises:
        UsageError: if the engine has such workers.
    """
    if not name.startswith("local:"):
        raise UsageError(
            f"--affinity names processors of this machine, and --on {name} measures on others; "
            "bind its workers where they are started"
        )


@contextmanager
def open_engine(plan: RunPlan) -> Iterator[SweepEngine | None]:
    """Reach the engine of a plan; ``None`` for this machine alone.

    Raises:
        UsageError: if the engine is not there.
    """
    kind, _, rest = plan.engine.partition(":")
    if not kind:
        yield None
    elif kind == "dask":
        with dask_engine(rest.removeprefix("//")) as engine:
            yield engine
    elif kind == "local":
        with local_engine(int(rest), plan.affinity) as engine:
            yield engine
    else:
        yield slurm_engine()


def engine_warning(plan: RunPlan) -> str:
    """Return why the times of an engine are disturbed; empty if nothing is known."""
    kind, _, workers = plan.engine.partition(":")
    processors = len(plan.affinity or allowed_processors())
    if kind != "local" or int(workers) <= processors:
        return ""
    return f"{workers} workers share {processors} processors, and disturb each other's times"


def sweep(folder: Path, plan: RunPlan, engine: SweepEngine, watcher: SweepWatcher) -> None:
    """Measure the variants of a RunPlan that its folder has no Record of, on an engine's workers.

    The Records of a Case are written together when its worker has finished, so a worker that dies
    leaves none, and the next measures the whole Case.

    Raises:
        UsageError: if no worker can measure, or the record file cannot be read or written.
    """
    settings = replace(plan, tasks=())
    with record_file(folder) as file:
        orders = [
            SweepOrder(settings, case, tuple(todo), baseline)
            for case, todo, baseline in tasks_left(plan, read_records(folder))
        ]
        for records in engine.measured(orders, watcher, folder):
            for record in records:
                file.append(record)
                watcher.recorded(record)
