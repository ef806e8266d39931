"""A sweep over real dask workers: one is killed, and the records are those of a local run."""

import pytest

from lossbench.bench.errors import UsageError
from lossbench.bench.run.plan import start_run
from lossbench.bench.run.records import RECORDS, read_records
from lossbench.bench.run.session import run
from lossbench.bench.sweep import dask_sweep
from lossbench.bench.sweep.engines import sweep
from lossbench.bench.sweep.on_dask import dask_engine
from lossbench.bench.sweep.orders import current_software
from tests.makers.sweeps import START_SECONDS, Seen, dask_processes, sweep_plan

pytest.importorskip("distributed", reason="dask.distributed is not installed")
NAMES = ("one", "two", "three")


class Killer(Seen):
    """Kills a worker that measures, as soon as another has finished its first case."""

    def __init__(self, processes):
        super().__init__()
        self.processes, self.killed = processes, None

    def recorded(self, record):
        super().recorded(record)
        if self.killed is None:
            self.killed, self.lost = next(iter(self.busy.items()))
            self.processes[self.killed].kill()


def swept(folder, plan, address, watcher):
    with dask_engine(address) as engine:
        engine.join_seconds = START_SECONDS
        sweep(folder, plan, engine, watcher)
    return read_records(folder)


def counted(record):
    """Return what is the same in each run of a cell on one kind of machine."""
    return record.cell, record.status, record.agreement, record.memory, record.counters


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_processes(tmp_path_factory.mktemp("dask"), NAMES) as started:
        yield started


@pytest.fixture(scope="module")
def measured(tmp_path_factory, cluster):
    """Give the folder of a sweep in which a worker was killed, and its watcher."""
    address, processes = cluster
    folder = tmp_path_factory.mktemp("runs") / "swept"
    start_run(folder, sweep_plan())
    watcher = Killer(processes)
    swept(folder, sweep_plan(), address, watcher)
    return folder, watcher


def test_a_killed_worker_costs_no_record_and_doubles_none(measured, tmp_path):
    folder, watcher = measured
    records = read_records(folder)
    start_run(tmp_path / "local", sweep_plan())
    run(tmp_path / "local", sweep_plan(), Seen())
    local = {record.cell: record for record in read_records(tmp_path / "local")}
    assert len(records) == len(local) == len(sweep_plan().cells)
    for record in records:
        assert counted(record) == counted(local[record.cell])
    case, _ = watcher.lost
    (note,) = watcher.notes
    assert note == f"worker {watcher.killed} has gone: {case.loss} {case} goes to another"
    assert {worker for worker, *_ in watcher.begun} == set(NAMES)


def test_a_ratio_is_of_one_process(measured):
    records = {record.cell: record for record in read_records(measured[0])}
    for case, _ in sweep_plan().tasks:
        reference, variant = records[case, "reference"], records[case, "vectorized"]
        assert variant.step.processes[0].reference_seconds == reference.step.seconds


def test_a_sweep_that_is_resumed_measures_what_is_missing(measured, cluster, tmp_path):
    lines = (measured[0] / RECORDS).read_text().splitlines(keepends=True)
    folder, kept = tmp_path / "resumed", "".join(lines[:-3])
    start_run(folder, sweep_plan())
    (folder / RECORDS).write_text(kept)
    records = swept(folder, sweep_plan(), cluster[0], Seen())
    assert (folder / RECORDS).read_text().startswith(kept)
    assert sorted(map(str, (record.cell for record in records))) == sorted(
        map(str, sweep_plan().cells)
    )
    # The reference of a half-measured case has a record, and is timed again beside the variant.
    assert all(record.step.speedup is not None for record in records[-3:])


def test_workers_of_another_version_are_refused(cluster, tmp_path, monkeypatch):
    software = {**current_software(), "sources": "newer"}
    monkeypatch.setattr(dask_sweep, "current_software", lambda: software)
    monkeypatch.setattr(dask_sweep, "REFUSED_SECONDS", 0)
    start_run(tmp_path, sweep_plan())
    with pytest.raises(UsageError, match=r"worker \w+: another version .*sources \w{12}, .* newer"):
        swept(tmp_path, sweep_plan(), cluster[0], Seen())
    assert read_records(tmp_path) == []
