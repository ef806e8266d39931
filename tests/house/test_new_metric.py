"""A new figure is one entry in ``bench/metrics.py``, and every place with figures shows it."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.measure.memory import Memory
from lossbench.bench.paths import ROOT
from tests.makers.records import record
from tests.makers.runs import paired, save_run

NAME, MEANING = "backward_peak_bytes", "the most bytes at once in a backward"
ENTRY = f"""
    Metric(
        "{NAME}",
        "bytes",
        "{MEANING}",
        at("memory.backward_peak_bytes"),
        heading="backward",
        asv=Tracked(),
        compared="bytes",
        gated="bytes",
    ),
"""
PARTS = """
<!-- winners: runs/51200 -->
<!-- end of winners -->
<!-- columns -->
<!-- end of columns -->
"""
START = "METRICS: tuple[Metric, ...] = ("
# Importing torch takes most of the time, so one process runs everything.
SCRIPT = """
import json, sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from lossbench.bench.cli import main
from lossbench.bench.cli.count import COUNTED
from lossbench.bench.frame import COLUMNS
from lossbench.bench.frame.pytest_benchmark import extra_info
from lossbench.bench.gate.compare import Seen
from lossbench.bench.gate.findings import findings_of
from lossbench.bench.gate.report import GateComparison
from lossbench.bench.measure.counters import Counters
from lossbench.bench.report.data import load_evidence
from lossbench.bench.report.page import render
from lossbench.bench.run.reading import read_records
from lossbench.bench.suites import compiled, eager
from lossbench.bench.suites.cell import Measured, tracked_figures

name, first, second = sys.argv[1:]

def printed(*arguments):
    with redirect_stdout(StringIO()) as text:
        assert main(arguments) == 0
    return text.getvalue()

one, other = (read_records(Path(run))[1] for run in (first, second))
sides = [Seen("passed", "", each.memory, Counters(20, 0)) for each in (one, other)]
compared = GateComparison(one.case, one.variant, *sides, {}, {})
printed("report", "--readme", "README.md", first)
print(json.dumps({
    "table": printed("results", first),
    "json": printed("results", first, "--json"),
    "csv": printed("results", first, "--csv"),
    "compare": printed("compare", first, second),
    "readme": Path("README.md").read_text(),
    "page": render(load_evidence([Path(first)])),
    "column": COLUMNS[name],
    "pytest_benchmark": extra_info(one),
    "asv": [hasattr(suite.arcface, f"track_{name}") for suite in (eager, compiled)],
    "asv_figures": tracked_figures(Measured(one.case, one.variant, one.agreement, one.memory)),
    "count": [metric.name for metric in COUNTED],
    "gate": [finding.quantity for finding in findings_of(compared, 0.05)],
}))
"""


def run_with(folder, backward_peak_bytes):
    """Save a run of two variants with a backward peak below the peak of the step."""
    for_all = {"case": Case("arcface", 64, 8, 10), "step": paired(0.5), "forward": paired(0.5)}
    memory = Memory(90_000, backward_peak_bytes, 3_000, 4)
    records = [record(variant=name, memory=memory, **for_all) for name in ("reference", "fused")]
    return save_run(folder, [replace(each, made="2026-01-02T03:04:05+00:00") for each in records])


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Return the outputs of all places with figures, in a copy of the tree with a new entry."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("lossbench", "bench", "impls", "reference"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    (folder / "results").mkdir()
    (folder / "README.md").write_text(PARTS)
    metrics = folder / "bench" / "metrics.py"
    before, after = metrics.read_text().split(START)
    metrics.write_text(before + START + ENTRY + after)
    runs = [run_with(folder / "runs" / str(size), size) for size in (51_200, 76_800)]
    # A narrow table leaves out what is not essential.
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, NAME, *map(str, runs)],
        cwd=folder, capture_output=True, text=True, check=False, env=wide,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_table_shows_it_under_its_heading(seen):
    heading, _, *rows = seen["table"].splitlines()
    end = heading.index("backward") + len("backward")
    assert [row[:end].endswith(" 50 KiB") for row in rows[:2]] == [True, True]


def test_json_and_csv_have_it(seen):
    rows = list(csv.DictReader(io.StringIO(seen["csv"])))
    assert [row[NAME] for row in rows] == ["51200", "51200"]
    assert [row[NAME] for row in json.loads(seen["json"])] == [51200, 51200]


def test_the_frame_and_pytest_benchmark_have_it(seen):
    assert seen["column"] == ["Int64", MEANING]
    assert seen["pytest_benchmark"][NAME] == 51200


def test_the_report_has_a_column_and_explains_it(seen):
    assert "<th>backward</th>" in seen["page"]
    assert '<td data-v="51200">50 KiB</td>' in seen["page"]
    assert f"<dt>backward</dt><dd>{MEANING}</dd>" in seen["page"]


def test_the_readme_explains_it(seen):
    assert f"| backward | {MEANING} |" in seen["readme"]


def test_asv_tracks_it(seen):
    assert seen["asv"] == [True, True]
    assert seen["asv_figures"][NAME] == 51200


def test_comparison_and_gate_tell_a_change_of_it(seen):
    assert "bigger, 2" in seen["compare"]
    assert "backward 75 KiB" in seen["compare"]
    assert NAME in seen["gate"]


def test_count_shows_what_the_gate_compares(seen):
    assert NAME in seen["count"]
