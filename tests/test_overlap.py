from dataclasses import replace

import pytest

from bench.cli import main
from bench.overlap import pair_cells
from bench.records import record_file
from bench.timing import Samples, Timing
from tests.test_records import record


def timed(variant, factor, noise=0.01):
    seconds = tuple(factor * (1 + noise * (-1) ** i) for i in range(40))
    return replace(record(), variant=variant, step=Timing((Samples(seconds, (1.0,) * 40, 1),)))


def test_the_reference_and_what_was_timed_once_are_left_out():
    first = [timed("reference", 1), timed("vectorized", 0.5), timed("fused", 0.5)]
    pairs = list(pair_cells(first, [timed("reference", 1), timed("vectorized", 0.5)]))
    assert [pair.record.variant for pair in pairs] == ["vectorized"]


@pytest.mark.parametrize(("factor", "overlaps"), [(0.5, True), (0.505, True), (0.6, False)])
def test_intervals_that_touch_overlap(factor, overlaps):
    (pair,) = pair_cells([timed("fused", 0.5)], [timed("fused", factor)])
    assert pair.overlaps is overlaps


def test_the_cells_that_differ_are_shown(tmp_path, capsys):
    for name, factor in (("a", 0.5), ("b", 0.9)):
        (tmp_path / name).mkdir()
        with record_file(tmp_path / name) as file:
            file.append(timed("vectorized", 0.5))
            file.append(timed("fused", factor))
    assert main(["overlap", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    assert "the intervals of 1 of 2 cells overlap: 50.0%" in out
    assert "fused" in out
    assert "vectorized" not in out


def test_runs_without_a_common_cell_are_told(tmp_path, capsys):
    for name, variant in (("a", "fused"), ("b", "vectorized")):
        (tmp_path / name).mkdir()
        with record_file(tmp_path / name) as file:
            file.append(timed(variant, 0.5))
    assert main(["overlap", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "share no cell that was timed in both" in capsys.readouterr().err
