"""A sweep over real dask workers: one is killed, and the records are those of a local run."""

import pytest

from lossbench.bench.errors import UsageError
from lossbench.bench.run.plan import start_run
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS
from lossbench.bench.run.running import run
from lossbench.bench.sweep import dask_sweep
from lossbench.bench.sweep.engines import sweep
from lossbench.bench.sweep.on_dask import dask_engine
from lossbench.bench.sweep.orders import current_software
from tests.makers.sweeps import CASES, START_SECONDS, Seen, dask_processes, sweep_plan

pytest.importorskip("distributed", reason="dask.distributed is not installed")
NAMES = ("one", "two", "three")


class Killer(Seen):
    """Kills a worker that measures, as soon as another has finished its first case."""

    def __init__(self, processes):
        super().__init__()
        self.processes, self.killed = processes, None

    def recorded(self, record):
        super().recorded(record)
        if self.killed is None and self.busy:
            self.killed, self.lost = next(iter(self.busy.items()))
            self.processes[self.killed.removeprefix("worker ")].kill()


def swept(folder, plan, address, watcher):
    start_run(folder, plan)
    with dask_engine(address) as engine:
        engine.join_seconds = START_SECONDS
        sweep(folder, plan, engine, watcher)
    return read_records(folder)


def local_records(folder):
    start_run(folder, sweep_plan())
    run(folder, sweep_plan(), Seen())
    return read_records(folder)


def counted(record):
    """Return what is the same in each run of a cell on one kind of machine."""
    return record.cell, record.status, record.agreement, record.memory, record.counters


def test_a_sweep_over_three_workers(tmp_path, monkeypatch):
    # One test, since the processes that it starts take most of its time.
    with dask_processes(tmp_path, NAMES) as (address, processes):
        killed = _a_killed_worker_costs_no_record_and_doubles_none(tmp_path, address, processes)
        _a_sweep_that_is_resumed_measures_what_is_missing(tmp_path, address, killed)
        _workers_of_another_version_are_refused(tmp_path, address, monkeypatch)


def _a_killed_worker_costs_no_record_and_doubles_none(folder, address, processes):
    watcher = Killer(processes)
    records = swept(folder / "swept", sweep_plan(), address, watcher)
    case, _ = watcher.lost
    (note,) = watcher.notes
    assert note == f"{watcher.killed} has gone: {case.loss} {case} goes to another"
    assert {worker for worker, *_ in watcher.begun} == {f"worker {name}" for name in NAMES}
    local = local_records(folder / "local")
    assert len(records) == len(local) == len(sweep_plan().cells)
    assert {r.cell: counted(r) for r in records} == {r.cell: counted(r) for r in local}
    found = {record.cell: record for record in records}
    for case in CASES:
        reference, variant = found[case, "reference"], found[case, "vectorized"]
        # The ratio is of times in one process.
        assert variant.step.processes[0].reference_seconds == reference.step.seconds
    return folder / "swept"


def _a_sweep_that_is_resumed_measures_what_is_missing(folder, address, killed):
    lines = (killed / RECORDS).read_text().splitlines(keepends=True)
    kept, half = "".join(lines[:-3]), len(lines) - 3
    (folder / "resumed").mkdir()
    (folder / "resumed" / RECORDS).write_text(kept)
    records = swept(folder / "resumed", sweep_plan(), address, Seen())
    assert (folder / "resumed" / RECORDS).read_text().startswith(kept)
    assert len(records) == len(lines)
    assert {record.cell for record in records} == set(sweep_plan().cells)
    # The reference of a half-measured case has a record, and is timed again beside the variant.
    assert all(record.step.speedup is not None for record in records[half:])


def _workers_of_another_version_are_refused(folder, address, monkeypatch):
    software = {**current_software(), "sources": "newer"}
    monkeypatch.setattr(dask_sweep, "current_software", lambda: software)
    monkeypatch.setattr(dask_sweep, "REFUSED_SECONDS", 0)
    with pytest.raises(UsageError, match=r"worker \w+: another version .*sources \w{12}, .* newer"):
        swept(folder / "refused", sweep_plan(), address, Seen())
    assert read_records(folder / "refused") == []
