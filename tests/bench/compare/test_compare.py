"""Changes between two runs are found, and noise is not reported as a change."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest

import lossbench
from lossbench.bench.cli import main
from lossbench.bench.compare.comparison import KINDS, compare
from lossbench.bench.timing.samples import Timing
from tests.makers.records import BAD, ENVIRONMENT, GOOD, record
from tests.makers.runs import paired, save_run

ELSEWHERE = replace(ENVIRONMENT, machine="elsewhere")


def timed(variant, factor, **changes):
    """Return a record of a variant that takes a factor of the reference's time, within 1%."""
    return replace(record(), variant=variant, step=paired(factor), **changes)


@pytest.fixture
def runs(tmp_path):
    """Return a function that writes records as a run and returns its folder."""

    return lambda name, *records: save_run(tmp_path / name, records)


def kinds(first, second, **options):
    """Return the kinds of change of each variant."""
    cells = compare(lossbench.load(first), lossbench.load(second), **options).cells
    return {row["variant"]: {k for k in KINDS if row[k]} for row in cells.to_dict("records")}


@pytest.mark.parametrize(
    ("factor", "expected"), [(0.5, set()), (0.505, set()), (0.6, {"slower"}), (0.4, {"faster"})]
)
def test_a_speed_up_has_changed_where_the_intervals_lie_apart(runs, factor, expected):
    first = runs("a", timed("reference", 1), timed("fused", 0.5))
    second = runs("b", timed("reference", 2), timed("fused", factor))
    assert kinds(first, second) == {"reference": set(), "fused": expected}


def test_within_the_margin_nothing_has_changed(runs):
    first, second = runs("a", timed("fused", 0.5)), runs("b", timed("fused", 0.6))
    assert kinds(first, second, margin=0.3) == {"fused": set()}
    assert kinds(first, second, margin=0.1) == {"fused": {"slower"}}


def test_the_ratio_is_that_of_the_speed_ups_with_the_furthest_ends(runs):
    first, second = runs("a", timed("fused", 0.5)), runs("b", timed("fused", 0.25))
    (row,) = compare(lossbench.load(first), lossbench.load(second)).cells.to_dict("records")
    assert row["ratio"] == pytest.approx(2, rel=1e-3)
    assert row["ratio_low"] == row["step_speedup_low_second"] / row["step_speedup_high_first"]
    assert row["ratio_high"] == row["step_speedup_high_second"] / row["step_speedup_low_first"]


def test_bytes_and_errors_are_counted(runs):
    memory = replace(record().memory, saved_bytes=record().memory.saved_bytes + 1)
    coarse = replace(GOOD, error=1e-5, budget=1e-4)
    first = runs("a", timed("fused", 0.5), timed("vectorized", 0.5))
    second = runs(
        "b", timed("fused", 0.5, memory=memory), timed("vectorized", 0.5, agreement=(coarse,))
    )
    assert kinds(first, second) == {"fused": {"bigger"}, "vectorized": {"less-exact"}}
    assert kinds(second, first) == {"fused": {"smaller"}, "vectorized": {"more-exact"}}


def test_what_came_went_broke_or_was_mended_is_told(runs):
    refused = {"status": "refused", "agreement": (BAD,), "step": None, "forward": None}
    first = runs("a", record(), record(variant="fused"), record(variant="otl", **refused))
    lost = {**refused, "status": "oom"}
    second = runs("b", record(**refused), record(variant="pml"), record(variant="otl", **lost))
    expected = {"vectorized": "broken", "fused": "vanished", "pml": "appeared", "otl": "status"}
    found = kinds(first, second)
    assert {v: k - {"less-exact"} for v, k in found.items()} == {
        v: {k} for v, k in expected.items()
    }
    assert "mended" in kinds(second, first)["vectorized"]


def test_times_of_two_machines_are_shown_and_not_judged(runs, capsys):
    first = runs("a", timed("fused", 0.5))
    second = runs("b", timed("fused", 0.9, environment=ELSEWHERE))
    assert kinds(first, second) == {"fused": set()}
    assert main(["compare", str(first), str(second)]) == 0
    assert (
        "on different machines, so times and speed-ups are not compared" in capsys.readouterr().out
    )
    assert main(["compare", str(first), str(second), "--fail-on", "slower"]) == 2
    assert "are of different machines" in capsys.readouterr().err


def test_a_machine_is_only_held_against_itself(runs):
    both = (timed("fused", 0.5), timed("fused", 0.9, environment=ELSEWHERE))
    assert kinds(runs("a", *both), runs("b", *both[::-1])) == {"fused": set()}


@pytest.mark.parametrize("changed", [{"cpu": "another"}, {"cores": 64}, {"threads": 32}])
def test_other_hardware_under_one_name_is_not_judged(runs, capsys, changed):
    other = replace(ENVIRONMENT, **changed)
    first = runs("a", timed("fused", 0.5))
    second = runs("b", timed("fused", 0.9, environment=other))
    assert kinds(first, second) == {"fused": set()}
    assert main(["compare", str(first), str(second)]) == 0
    text = capsys.readouterr().out
    assert "times and speed-ups are not compared" in text
    assert ("the name here stands for several machines" in text) == ("cpu" in changed)


def test_records_of_hardware_that_only_one_has_are_left_out_and_told(runs, capsys):
    many = replace(ENVIRONMENT, threads=32)
    first = runs("a", timed("fused", 0.5), timed("vectorized", 0.5, environment=many))
    second = runs("b", timed("fused", 0.5), timed("vectorized", 0.9))
    assert kinds(first, second) == {"fused": set(), "vectorized": {"appeared"}}
    assert main(["compare", str(first), str(second)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    hardware = f"{many.cpu}, {many.cores} cores, 32 threads"
    assert f"left out: 1 records of here ({hardware}), which made only the first" in text
    assert f"is a mixture of threads {ENVIRONMENT.threads} and 32" in text


def test_a_clean_record_counts_and_a_dirty_one_is_left_out_and_told(runs, capsys):
    dirty = replace(ENVIRONMENT, dirty=True)
    later = timed("fused", 0.9, environment=dirty, made="2026-02-01T00:00:00+00:00")
    first, second = runs("a", timed("fused", 0.5)), runs("b", timed("fused", 0.5), later)
    assert kinds(first, second) == {"fused": set()}
    assert main(["compare", str(first), str(second), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["left_out"] == ["1 records of uncommitted code in the second, beside clean ones"]


def test_figures_of_uncommitted_code_are_marked(runs, capsys):
    dirty = replace(ENVIRONMENT, dirty=True)
    first = runs("a", timed("fused", 0.5))
    second = runs("b", timed("fused", 0.9, environment=dirty))
    assert main(["compare", str(first), str(second)]) == 0
    text = capsys.readouterr().out
    assert "[1.1, 1.12]*" in text
    assert "* measured with uncommitted changes" in text
    assert main(["compare", str(first), str(first)]) == 0
    assert "*" not in capsys.readouterr().out


def test_the_record_of_three_processes_counts_although_another_is_newer(runs):
    several = Timing(paired(0.25).processes * 3)
    old = timed("fused", 1, made="2026-01-01T00:00:00+00:00")
    both = [replace(old, step=several), timed("fused", 0.5)]
    first, second = runs("a", timed("fused", 0.5)), runs("b", *both)
    assert kinds(first, second) == {"fused": {"faster"}}


def test_what_is_to_fail_fails(runs, capsys):
    first, second = str(runs("a", timed("fused", 0.5))), str(runs("b", timed("fused", 0.7)))
    assert main(["compare", first, second]) == 0
    assert main(["compare", first, second, "--fail-on", "bigger,vanished"]) == 0
    assert main(["compare", first, second, "--fail-on", "bigger,slower"]) == 1
    assert "failed on: slower" in capsys.readouterr().err
    assert main(["compare", first, second, "--fail-on", "dearer"]) == 2
    assert "expected some of slower, faster" in capsys.readouterr().err


def test_the_table_shows_what_changed_and_how_many_intervals_overlap(runs, capsys):
    first = runs("a", timed("vectorized", 0.5), timed("fused", 0.5), timed("pml", 1))
    second = runs("b", timed("vectorized", 0.5), timed("fused", 0.9), timed("otl", 1))
    assert main(["compare", str(first), str(second)]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.split("\n\n")[0].splitlines()[1:])) <= 80
    text = " ".join(printed.split())
    assert "slower, 1: the speed-up fell" in text
    assert "the intervals of 1 of 2 cells overlap: 50.0%" in text
    counts = "1 slower, of 2 cells in both; 1 cell only in the first; 1 cell only in the second"
    assert text.startswith(f"{second} against {first}: {counts} ")


def test_several_runs_are_each_compared_with_the_first(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    names = [str(runs(n, timed("fused", f))) for n, f in (("a", 0.5), ("b", 0.9), ("c", 0.2))]
    assert main(["compare", *names]) == 0
    printed = capsys.readouterr().out.splitlines()
    verdicts = ["1 slower, of 1 cell in both", "1 faster, of 1 cell in both"]
    # All verdicts come first, and each again above its changes.
    assert [line.rpartition(": ")[2] for line in printed[:2]] == verdicts
    lines = [line for line in printed if " against " in line]
    assert [line.rpartition(": ")[2] for line in lines] == 2 * verdicts
    assert main(["compare", *names, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["second"] for each in found] == names[1:]
    assert main(["compare", *names, "--fail-on", "slower"]) == 1
    assert main(["compare", names[0]]) == 2
    assert "Missing argument" in capsys.readouterr().err


def test_a_comparison_as_csv_has_a_row_for_each_change(runs, capsys):
    names = [str(runs(n, timed("fused", f))) for n, f in (("a", 0.5), ("b", 0.9), ("c", 0.2))]
    assert main(["compare", *names, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["second"], row["kinds"]) for row in rows] == [
        (names[1], "slower"),
        (names[2], "faster"),
    ]


def test_a_narrow_comparison_is_not_folded(runs, capsys, monkeypatch):
    first, second = str(runs("a", timed("fused", 0.5))), str(runs("b", timed("fused", 0.9)))
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["compare", first, second]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  island 4x2, C=3, cpu, gaussian  fused" in lines
    assert any(line.startswith("    second over first: 0.55") for line in lines)
    # The names of the runs are paths, which no width can hold.
    assert [line for line in lines if len(line.rstrip()) > 80 and first not in line] == []


def test_json_has_every_change_with_both_sides(runs, capsys):
    first, second = runs("a", timed("fused", 0.5)), runs("b", timed("fused", 0.9))
    assert main(["compare", str(first), str(second), "--json", "--fail-on", "slower"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["cells_in_both"] == found["cells_timed_in_both"] == 1
    assert found["intervals_that_overlap"] == 0
    assert found["failed_on"] == ["slower"]
    (change,) = found["changes"]
    assert change["kinds"] == ["slower"]
    assert change["ratio"] < 1
    assert change["step_seconds_first"] == pytest.approx(5e-4, rel=0.02)


@pytest.mark.parametrize(("by", "names"), [("commit", ("aaa", "bbb")), ("machine", ("a1", "b1"))])
def test_commits_and_machines_are_found_in_runs(runs, tmp_path, capsys, by, names):
    sides = [
        replace(ENVIRONMENT, commit=commit * 10, machine=machine if by == "machine" else "here")
        for commit, machine in (("aaab", "a1"), ("bbba", "b1"))
    ]
    for name, factor, side in zip("ab", (0.5, 0.9), sides, strict=True):
        runs(name, timed("fused", factor, environment=side))
    assert main(["compare", *names, "--by", by, "--in", str(tmp_path)]) == 0
    assert ("slower, 1" in capsys.readouterr().out) == (by == "commit")
    assert main(["compare", names[0], "ccc", "--by", by, "--in", str(tmp_path)]) == 2
    assert f"no record of the {by} 'ccc'; there are: " in capsys.readouterr().err


def test_the_beginning_of_two_commits_names_neither(runs, tmp_path, capsys):
    for commit in ("ab1", "ab2", "cd"):
        runs(commit, timed("fused", 0.5, environment=replace(ENVIRONMENT, commit=commit)))
    arguments = ["--by", "commit", "--in", str(tmp_path)]
    assert main(["compare", "ab", "cd", *arguments]) == 2
    assert "expected one commit, but several begin with 'ab': ab1, ab2" in capsys.readouterr().err
    assert main(["compare", "ab1", "cd", *arguments]) == 0


def test_two_without_a_common_cell_or_a_record_are_told(runs, capsys):
    first, second, empty = runs("a", timed("fused", 1)), runs("b", timed("pml", 1)), runs("c")
    assert main(["compare", str(first), str(second)]) == 2
    assert "share no cell" in capsys.readouterr().err
    assert main(["compare", str(empty), str(empty)]) == 2
    assert "expected records; there are none yet" in capsys.readouterr().err
    assert main(["compare", str(first / "none"), str(second)]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_an_infinite_error_within_an_infinite_budget_is_told(runs, capsys):
    overflowed = replace(GOOD, error=math.inf, budget=math.inf)
    first = runs("a", timed("fused", 1))
    second = runs("b", timed("fused", 1, agreement=(overflowed,)))
    assert main(["compare", str(first), str(second)]) == 0
    assert "error inf" in capsys.readouterr().out


def test_releases_of_torch_are_compared_by_their_speed_ups(runs, tmp_path, capsys):
    for version, factor in (("2.11.0+cpu", 0.5), ("2.13.1", 0.25)):
        environment = replace(ENVIRONMENT, torch=version)
        timings = [timed("reference", 1), timed("fused", factor)]
        runs(version, *(replace(each, environment=environment) for each in timings))
    arguments = ("compare", "--by", "torch", "--in", str(tmp_path), "--json")
    assert main((*arguments, "2.11", "2.13")) == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert change["kinds"] == ["faster"]
    assert change["ratio"] == pytest.approx(2, rel=1e-3)
    assert main((*arguments, "2.1", "2.13")) == 2
    assert "no record of the torch '2.1'; there are: 2.11.0+cpu, 2.13.1" in capsys.readouterr().err
