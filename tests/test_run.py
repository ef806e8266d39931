"""The main job, end to end: in a real worker, killed, resumed, and told of what it cannot do."""

import json
import signal
import subprocess
import sys
import time

import pytest

from bench.cases import Case
from bench.cli import main
from bench.environment import ROOT
from bench.errors import UsageError
from bench.plan import Plan, start_run
from bench.records import RECORDS, read_records
from bench.run import run

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
    return Plan(tuple((case, variants) for case in cases), **{**asked, **changes})


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
        assert len(record.step.seconds) == len(record.step.reference_seconds) >= 1
        assert record.memory.step_peak_bytes > 0
        assert record.environment.machine == "test"
        assert record.environment.threads == 1
    for case in CASES:
        reference, other = (record for record in records if record.case == case)
        assert other.step.reference_seconds == reference.step.seconds


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
    with pytest.raises(UsageError, match="holds a run already; --resume"):
        start_run(measured, plan())


def test_a_size_too_large_costs_its_own_cells(tmp_path):
    cases = (Case("center_mse", batch=2**30, dim=2**14, classes=3), CASES[1])
    start_run(tmp_path, plan(cases))
    run(tmp_path, plan(cases), Silent())
    statuses = [record.status for record in read_records(tmp_path)]
    assert statuses == ["oom", "oom", "passed", "passed"]


ARGUMENTS = ["run", "--preset", "ci", "--variant", "vectorized", "--budget", "0.05"]


def begin(folder):
    command = [sys.executable, "-m", "bench", *ARGUMENTS, "--out", folder]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them ignore Ctrl-C, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    records = folder / RECORDS
    until = time.monotonic() + 120
    while time.monotonic() < until and not (records.exists() and records.stat().st_size):
        time.sleep(0.05)
    assert records.stat().st_size, "no record was made"
    return process


def test_control_c_ends_in_one_line_with_the_way_on(tmp_path):
    process = begin(tmp_path / "run")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert last == f"stopped; to go on: python -m bench run --resume {tmp_path / 'run'}"
    assert read_records(tmp_path / "run")


def test_a_killed_run_keeps_its_records_and_resumes(tmp_path, capsys):
    process = begin(tmp_path / "run")
    process.kill()
    process.communicate(timeout=60)
    kept = read_records(tmp_path / "run")
    assert kept
    # What remains of the plan is cut short, to keep the test so.
    path = tmp_path / "run" / "plan.json"
    asked = json.loads(path.read_text())
    asked["tasks"] = asked["tasks"][: len(kept) // 2 + 1]
    path.write_text(json.dumps(asked))
    assert main(["run", "--resume", str(tmp_path / "run")]) == 0
    after = read_records(tmp_path / "run")
    assert after[: len(kept)] == kept
    assert len({record.cell for record in after}) == len(after) >= 2 * len(asked["tasks"])
    assert "softmax  32x16, C=10, cpu, gaussian" in capsys.readouterr().out
