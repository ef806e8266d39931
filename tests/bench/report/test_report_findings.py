"""The findings of a report: winners, break-even, growth, fronts, agreement."""

from dataclasses import replace

import pandas as pd
import pytest

from lossbench.bench.frame import tidy
from lossbench.bench.frame.runs import record_row
from lossbench.bench.report import findings
from lossbench.bench.report.order import ordered
from tests.makers.records import record
from tests.makers.reports import REFUSED, cell, cells


def test_the_winner_stands_beside_its_rivals_the_eager_and_the_leanest():
    lean = replace(record().memory, forward_peak_bytes=0, backward_peak_bytes=0)
    extra = [cell("center", "sparse", 0.405, memory=lean)]
    won = findings.winners(frame_of(*cells(), *extra)).set_index(["loss", "batch", "classes"])
    small = won.loc["center", 64, 10]
    assert small["variant"] == "vectorized+compile"
    assert small["rivals"] == "sparse"
    assert small["eager"] == small["leanest"] == "sparse"
    assert won.loc["arcface", 256, 10]["variant"] == "fused"
    assert won.loc["arcface", 256, 10]["rivals"] == ""


def row(record):
    return {"run": "here", **record_row(record)}


def frame_of(*records):
    return ordered(tidy([row(each) for each in records]))


def test_the_reference_wins_where_nothing_is_faster():
    (won,) = findings.winners(
        frame_of(cell("center", "reference", 1), cell("center", "fused", 1.5))
    ).to_dict("records")
    assert (won["variant"], won["step_speedup"], won["rivals"]) == ("reference", 1, "")


def test_compiling_has_paid_against_the_fastest_eager_variant():
    paid = findings.break_even(frame_of(*cells())).set_index("loss")
    assert paid.loc["center", "eager"] == "fused"
    # 6 s of compiling, and 0.5 ms against 0.4 ms per step.
    assert paid.loc["center", "steps"] == pytest.approx(60_000, rel=0.05)
    slow = [cell("center", "fused", 0.1), *(c for c in cells() if "+" in c.variant)]
    assert findings.break_even(frame_of(*slow)).iloc[-1]["steps"] == float("inf")


def test_a_front_holds_what_nothing_else_beats_in_both():
    points = {"step_seconds": [1, 2, 3, 2, 4], "step_peak_bytes": [9, 5, 7, 6, 1]}
    found = findings.front(pd.DataFrame(points))
    assert list(zip(found["step_seconds"], found["step_peak_bytes"], strict=True)) == [
        (1, 9), (2, 5), (4, 1),
    ]  # fmt: skip


def test_a_curve_has_the_sizes_that_differ_in_one_axis_alone():
    rows = frame_of(*(each for each in cells() if each.case.loss == "center"))
    along = findings.growth(rows, "batch")
    assert set(along["batch"]) == {64, 256}
    assert set(along["classes"]) == {10}
    assert set(findings.growth(rows, "classes")["batch"]) == {64}


def test_agreement_tells_the_worst_and_how_often():
    bad = replace(cell("arcface", "pml", 1), **REFUSED)
    found = findings.agreement_rows(frame_of(cell("arcface", "pml", 1, batch=256), bad))
    (worst,) = found.to_dict("records")
    assert (worst["cells"], worst["passed"], worst["error"]) == (2, 1, float("inf"))
