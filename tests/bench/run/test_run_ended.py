"""Whatever ends a run, no record is lost or doubled, and the run can be resumed."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lossbench.bench.cli import main
from lossbench.bench.paths import ROOT
from lossbench.bench.run.plan import RunPlan, start_run
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS
from tests.makers.records import record

ARGUMENTS = ["run", "--preset", "ci", "--variant", "vectorized", "--budget", "0.05"]
ARGUMENTS += ["--processes", "1"]


def begin(folder, *more):
    """Start a run, and return its process once it has made a record."""
    command = [sys.executable, "-m", "lossbench", *ARGUMENTS, *more, "--out", folder]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As a shell starts a job in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    records = folder / RECORDS
    until = time.monotonic() + 120
    while time.monotonic() < until and not (records.exists() and b"\n" in records.read_bytes()):
        time.sleep(0.05)
    assert b"\n" in records.read_bytes(), "no record was made"
    return process


def workers(process):
    """Return the processes that measure for a run: its children with torch's threads."""
    return [p for p in psutil.Process(process.pid).children() if "spawn_main" in str(p.cmdline())]


def cut_short(folder, cases):
    """Keep only the first cases of a plan, so that the test is short."""
    path = folder / "plan.json"
    asked = json.loads(path.read_text())
    asked["tasks"] = asked["tasks"][:cases]
    path.write_text(json.dumps(asked))


def cells(folder):
    found = [record.cell for record in read_records(folder)]
    assert len(set(found)) == len(found), "a cell was recorded twice"
    return found


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM], [signal.SIGHUP]],
)
def test_a_signal_ends_in_one_line_with_the_way_on(tmp_path, signals, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    process = begin(tmp_path / "run")
    for each in signals:
        process.send_signal(each)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert last == f"stopped; to resume: lossbench run --resume {tmp_path / 'run'}"
    assert read_records(tmp_path / "run")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_killed_run_keeps_its_records_and_resumes(tmp_path, capsys):
    process = begin(tmp_path / "run")
    process.kill()
    process.communicate(timeout=60)
    kept = read_records(tmp_path / "run")
    assert kept
    cut_short(tmp_path / "run", len(kept) // 2 + 1)
    assert main(["run", "--resume", str(tmp_path / "run")]) == 0
    after = read_records(tmp_path / "run")
    assert after[: len(kept)] == kept
    assert len(cells(tmp_path / "run")) >= len(kept) + 1
    assert "softmax  32x16, C=10, cpu, gaussian" in capsys.readouterr().out


def test_the_workers_of_a_killed_run_end_with_it(tmp_path):
    process = begin(tmp_path / "run", "--processes", "2")
    orphans = workers(process)
    assert orphans
    process.kill()
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(orphans, timeout=10)
    assert not alive


@pytest.mark.parametrize("moments", [(0.0, 0.7), (0.3, 1.5)])
def test_a_killed_worker_costs_a_cell_and_not_the_run(tmp_path, moments):
    process = begin(tmp_path / "run")
    for pause in moments:
        time.sleep(pause)
        for worker in workers(process):
            worker.kill()
    before = len(read_records(tmp_path / "run"))
    until = time.monotonic() + 120
    while time.monotonic() < until and len(read_records(tmp_path / "run")) < before + 3:
        time.sleep(0.1)
    process.kill()
    process.communicate(timeout=60)
    records = read_records(tmp_path / "run")
    assert len(records) >= before + 3
    assert len(cells(tmp_path / "run")) == len(records)
    lost = [record for record in records if record.status != "passed"]
    assert len(lost) <= len(moments) + sum(r.status == "departs" for r in lost)
    ended = ("the worker ended with signal SIGKILL", "the worker ended while it started")
    assert all(r.reason.startswith(ended) for r in lost if r.status == "crashed")


def test_a_run_into_a_folder_that_another_writes_to_is_refused(tmp_path, capsys):
    process = begin(tmp_path / "run")
    assert main(["run", "--resume", str(tmp_path / "run")]) == 2
    assert "another run writes there" in capsys.readouterr().err
    process.kill()
    process.communicate(timeout=60)


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder in a file system of 96 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_run_onto_a_full_disk_resumes_when_there_is_room(small_disk, capsys):
    ballast: Path = small_disk / "ballast"
    ballast.write_bytes(bytes(64 * 1024))
    folder = small_disk / "run"
    arguments = ["--variant", "vectorized", "--budget", "0.02", "--threads", "1"]
    arguments += ["--processes", "1"]
    assert main(["run", "--preset", "ci", *arguments, "--out", str(folder)]) == 2
    assert "No space left on device; the records before this one are complete" in (
        " ".join(capsys.readouterr().err.split())
    )
    kept = cells(folder)
    ballast.unlink()
    cut_short(folder, len(kept) // 2 + 1)
    assert main(["run", "--resume", str(folder)]) == 0
    assert cells(folder)[: len(kept)] == kept
    assert len(cells(folder)) == 2 * (len(kept) // 2 + 1)


def test_a_run_in_a_folder_that_cannot_be_written_is_refused(small_disk, capsys):
    plan = RunPlan(((record().case, ("reference",)),), 0.01, 60, 1, "here")
    start_run(small_disk / "run", plan)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert main(["run", "--resume", str(small_disk / "run")]) == 2
    error = " ".join(capsys.readouterr().err.splitlines()[-1:])
    assert (
        error
        == f"error: {small_disk / 'run'}: Read-only file system; expected a folder to write to"
    )


def test_a_plan_is_written_whole_or_not_at_all(small_disk):
    ballast = small_disk / "ballast"
    with suppress(OSError):
        ballast.write_bytes(bytes(96 * 1024))
    folder = small_disk / "run"
    assert main(["run", "--preset", "ci", "--out", str(folder)]) == 2
    assert not folder.exists() or list(folder.iterdir()) == []
    ballast.unlink()
    assert main(["run", "--resume", str(folder)]) == 2
