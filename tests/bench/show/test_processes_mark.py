"""An interval that rests on fewer than three processes is marked wherever it is printed."""

from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from lossbench.bench.case.presets import PRESETS
from lossbench.bench.choose.text import answer_text
from lossbench.bench.cli.run import run_cases
from lossbench.bench.compare.comparison import compare
from lossbench.bench.compare.table import changes_table
from lossbench.bench.format import plain_text
from lossbench.bench.frame import load
from lossbench.bench.marks import FEW_PROCESSES
from lossbench.bench.report.readme import renewed
from lossbench.bench.show.results import results_table
from lossbench.bench.timing.samples import Samples, Timing
from tests.makers.choices import THREE, ask
from tests.makers.records import record
from tests.makers.runs import save_run


def in_processes(count, seconds=5e-4):
    samples = Samples((seconds,) * 20, (1e-3,) * 20, 1)
    times = Timing((samples,) * count)
    return replace(record(), variant="vectorized", forward=times, step=times)


@pytest.mark.parametrize(
    ("processes", "marked"),
    [(1, True), (2, True), (3, False), (5, False), (None, False), (pd.NA, False)],
)
def test_fewer_than_three_processes_are_marked(processes, marked):
    assert FEW_PROCESSES.applies({"processes": processes}) is marked


def test_numpy_s_numbers_are_numbers():
    assert FEW_PROCESSES.applies({"processes": np.int64(1)})


@pytest.mark.parametrize(("count", "marked"), [(1, True), (3, False)])
def test_tables_and_readme_mark_it(tmp_path, count, marked):
    printed = StringIO()
    Console(width=200, file=printed).print(results_table([in_processes(count)]))
    assert ("]†" in printed.getvalue()) is marked
    save_run(tmp_path / "run", [in_processes(count)])
    page = tmp_path / "page.md"
    page.write_text("<!-- winners: run -->\n<!-- end of winners -->\n")
    assert ("]†" in renewed(page, ())[0]) is marked


def test_a_comparison_marks_each_side(tmp_path):
    first, second = (
        load(save_run(tmp_path / name, [in_processes(count, seconds)]))
        for name, count, seconds in (("first", 1, 5e-4), ("second", 3, 2e-4))
    )
    text = plain_text(changes_table(compare(first, second), ("first", "second")))
    assert text.count("]†") == 1


def test_an_answer_of_choose_says_what_the_mark_means():
    assert {len(each.step.processes) for each in THREE} == {1}
    text = plain_text(answer_text(ask(THREE)))
    assert "]†" in text
    assert "† sampled in fewer than 3 processes" in text


def test_by_default_three_processes_sample():
    assert {preset.processes for preset in PRESETS.values()} == {3}
    (option,) = (p for p in run_cases.params if p.name == "processes")
    assert "By default 3." in option.help
