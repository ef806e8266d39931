"""Runs from start to end, in a real worker: measured, resumed, and refused."""

import os
import subprocess
import sys

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.ceilings import Ceilings
from lossbench.bench.paths import ROOT
from lossbench.bench.run.plan import RunPlan, start_run
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS
from lossbench.bench.run.running import run
from lossbench.bench.run.session import Session

CASES = (
    Case("center_mse", batch=8, dim=4, classes=3),
    Case("vector_distance", batch=8, dim=4, classes=3),
)


class Silent:
    def __init__(self):
        self.seen = []

    def working(self, case, task):
        self.seen.append((case, task))

    def recorded(self, record):
        self.seen.append(record.cell)


def plan(cases=CASES, variants=("reference", "vectorized"), **changes):
    asked = {
        "budget_seconds": 0.05,
        "timeout_seconds": 120,
        "threads": 1,
        "machine": "test",
    }
    return RunPlan(tuple((case, variants) for case in cases), **{**asked, **changes})


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    start_run(folder, plan())
    run(folder, plan(), Silent())
    return folder


def test_every_cell_is_recorded_with_its_figures(measured):
    records = read_records(measured)
    assert [record.cell for record in records] == plan().cells
    for record in records:
        assert record.status == "passed"
        assert record.step.median_seconds > 0
        assert record.forward.median_seconds > 0
        (samples,) = record.step.processes
        assert len(samples.seconds) == len(samples.reference_seconds) >= 1
        assert record.counters.operators > 0
        assert record.memory.step_peak_bytes > 0
        assert record.environment.machine == "test"
        assert record.environment.threads == 1
    for case in CASES:
        reference, other = (record for record in records if record.case == case)
        assert other.step.processes[0].reference_seconds == reference.step.seconds


def test_resuming_measures_only_what_is_missing(measured, tmp_path):
    lines = (measured / RECORDS).read_text().splitlines(keepends=True)
    start_run(tmp_path / "two", plan())
    (tmp_path / "two" / RECORDS).write_text("".join(lines[:3]))
    watcher = Silent()
    run(tmp_path / "two", plan(), watcher)
    records = read_records(tmp_path / "two")
    assert [record.cell for record in records] == plan().cells
    assert (tmp_path / "two" / RECORDS).read_text().startswith("".join(lines[:3]))
    assert watcher.seen[-1] == (CASES[1], "vectorized")
    assert records[-1].step.speedup is not None


def test_a_second_run_into_one_folder_is_refused(measured):
    with pytest.raises(UsageError, match="has a run already; --resume"):
        start_run(measured, plan())


def test_a_size_too_large_costs_its_own_cells(tmp_path):
    cases = (Case("center_mse", batch=2**30, dim=2**14, classes=3), CASES[1])
    start_run(tmp_path, plan(cases))
    run(tmp_path, plan(cases), Silent())
    statuses = [record.status for record in read_records(tmp_path)]
    assert statuses == ["oom", "oom", "passed", "passed"]


def test_real_digits_are_measured(tmp_path):
    command = [sys.executable, "-m", "lossbench", "run", "--loss", "vector_distance"]
    command += ["--variant", "vectorized", "--data", "digits", "--dim", "64", "--budget", "0.05"]
    command += ["--processes", "1"]
    # In a process of its own, as a user's: nothing here may have imported scikit-learn before.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}
    subprocess.run([*command, "--out", tmp_path], cwd=ROOT, env=clean, check=True, timeout=300)
    assert [record.status for record in read_records(tmp_path)] == ["passed", "passed"]


def test_several_processes_sample_each_case(tmp_path):
    asked = plan(CASES[:1], processes=3)
    start_run(tmp_path, asked)
    run(tmp_path, asked, Silent())
    for record in read_records(tmp_path):
        assert len(record.step.processes) == len(record.forward.processes) == 3
        assert record.ceilings.flops_per_second["float32"] > 0


# A forked worker fails at a later allocation, some of whose errors do not tell of memory.
@pytest.mark.usefixtures("fresh_workers")
def test_a_worker_without_memory_costs_one_line(tmp_path, capsys):
    asked = plan(memory_bytes=1)
    start_run(tmp_path, asked)
    with pytest.raises(UsageError, match="no worker can measure here: out of memory"):
        run(tmp_path, asked, Silent())
    assert capsys.readouterr().err == ""


def test_where_no_worker_can_start_the_run_is_refused_once(tmp_path, monkeypatch):
    def lose(*_):
        raise Lost("crashed", "the worker ended while it started with exit code 1")

    monkeypatch.setattr(Worker, "ask", lose)
    start_run(tmp_path, plan())
    with pytest.raises(UsageError, match=r"no worker can measure here: the worker ended .*ulimit"):
        run(tmp_path, plan(), Silent())
    assert read_records(tmp_path) == []


def test_one_that_changes_the_process_costs_the_others_no_times(monkeypatch):
    def sample(_session, _case, variants):
        if "bad" in variants:
            raise Lost("refused", "it changed the number of threads from 1 to 2")
        return dict.fromkeys(variants, "times")

    monkeypatch.setattr(Session, "_sample", sample)
    session = object.__new__(Session)
    found = session._time(CASES[0], ["reference", "good", "bad"], baseline=True)
    assert found.pop("bad").status == "refused"
    assert found == {"reference": "times", "good": "times"}


def test_times_that_the_arithmetic_rules_out_are_refused(tmp_path, monkeypatch):
    measured = []

    def measure(_session, case):
        measured.append(case)
        return Ceilings({"float32": 1.0}, 1e12, {"forward": 1e-9, "step": 1e-9})

    monkeypatch.setattr(Session, "_measure_ceilings", measure)
    case = Case("center_mse", batch=8, dim=4, classes=3)
    asked = plan((case,), variants=("reference",))
    start_run(tmp_path / "slow", asked)
    run(tmp_path / "slow", asked, Silent())
    (found,) = read_records(tmp_path / "slow")
    assert found.status == "refused"
    assert found.reason.startswith("implausible: a forward of ")
    assert (found.forward, found.step) == (None, None)
    assert found.ceilings.flops_per_second == {"float32": 1.0}
    # The ceilings are measured again before a variant is refused by them.
    assert measured == [case, case]
