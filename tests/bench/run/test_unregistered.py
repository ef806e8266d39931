"""Every command shows and marks the records of a removed variant and of a removed loss."""

from dataclasses import replace

import pytest

import lossbench
from lossbench.bench.cli import main
from lossbench.bench.measure.ceilings import Ceilings
from lossbench.bench.run.plan import RunPlan, start_run
from lossbench.bench.run.reading import read_records
from tests.makers.records import record
from tests.makers.reports import cell
from tests.makers.runs import save_run

CEILINGS = {"ceilings": Ceilings({"float32": 1e9}, 1e9, {"forward": 1e-6, "step": 1e-6})}
KEPT = [
    cell("arcface", "reference", 1, **CEILINGS),
    cell("arcface", "vectorized", 0.5, **CEILINGS),
]
GONE = [cell("arcface", "gone", 0.2, **CEILINGS), cell("vanished", "reference", 1, **CEILINGS)]


@pytest.fixture
def run(tmp_path):
    return save_run(tmp_path / "run", [*GONE, *KEPT])


def test_results_shows_them_last(run, capsys):
    assert main(["results", str(run)]) == 0
    shown = capsys.readouterr().out
    assert shown.index("vectorized") < shown.index("gone") < shown.index("vanished")
    assert "gone: no longer registered" in shown


def test_results_of_a_loss_that_is_gone_are_asked_for_by_its_name(run, capsys):
    assert main(["results", str(run), "--loss", "vanished"]) == 0
    assert "arcface" not in capsys.readouterr().out
    assert main(["results", str(run), "--loss", "centre"]) == 2
    told = "no record of 'centre'; there are records of: arcface, vanished"
    assert told in capsys.readouterr().err


def test_the_frame_holds_them_without_a_limit(run):
    frame = lossbench.load(run).set_index(["loss", "variant"])
    limits = frame["limit_seconds"].notna().to_dict()
    assert limits == {
        ("arcface", "gone"): True,
        ("vanished", "reference"): False,
        ("arcface", "reference"): True,
        ("arcface", "vectorized"): True,
    }
    assert frame["step_seconds"].notna().all()


def test_compare_marks_them(run, tmp_path, capsys):
    before = save_run(tmp_path / "before", KEPT)
    assert main(["compare", str(before), str(run)]) == 0
    assert "gone (no longer registered)" in capsys.readouterr().out


def test_a_report_names_them(run, tmp_path, monkeypatch):
    monkeypatch.setattr("lossbench.bench.report.write.draw", lambda _: [])
    assert main(["report", str(run), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert "No longer registered, and shown last: arcface gone, vanished reference." in page


def test_a_resumed_run_skips_them(tmp_path, capsys):
    kept, gone = record().case, replace(record().case, loss="vanished")
    folder = tmp_path / "run"
    start_run(folder, RunPlan(((kept, ("reference", "gone")), (gone, ("fused",))), 1, 60, 1, ""))
    measured = record(case=kept, variant="reference")
    save_run(folder, [measured])
    assert main(["run", "--resume", str(folder), "--mixed"]) == 0
    told = capsys.readouterr().err
    assert "skipped island gone in 1 cases: no longer registered" in told
    assert "skipped vanished fused in 1 cases: no longer registered" in told
    assert read_records(folder) == [measured]
