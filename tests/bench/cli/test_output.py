"""Every command that prints figures prints them for scripts too, and fits 80 columns."""

import csv
import io
import json

import pytest

from lossbench import impls
from lossbench.bench.cli import main
from lossbench.bench.format import figures_table, fit, folded, width_of
from tests.makers.choices import THREE
from tests.makers.runs import save_run

SIZE = ("--batch", "8", "--dim", "4", "--classes", "3")
ONE = ("--variant", "vectorized", *SIZE)
# Each prints rows with these columns, beside others.
COMMANDS = [
    (("list",), {"loss", "variant", "compiled", "cpu"}),
    (("show", "island"), {"loss", "variant", "compiled", "cpu"}),
    (("count", "island", *ONE), {"loss", "variant", "status", "operators", "step_peak_bytes"}),
    (("agreement", "island", *ONE), {"variant", "precision", "quantity", "error"}),
    (("conformance", "center_mse"), {"loss", "variant", "input", "grade"}),
]
IDS = [arguments[0] for arguments, _ in COMMANDS]


@pytest.mark.parametrize(("arguments", "columns"), COMMANDS, ids=IDS)
def test_a_command_prints_csv_json_and_80_columns(arguments, columns, capsys, monkeypatch):
    assert main([*arguments, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert columns <= set(rows[0])
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    listed = found["variants"] if arguments[0] == "show" else found
    assert len(listed) == len(rows)
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line.rstrip()) > 80] == []


def test_show_describes_the_loss_in_json(capsys):
    assert main(["show", "island", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["departures"] == list(impls.loss("island").departures)
    assert [row["variant"] for row in found["variants"]] == [
        each.variant for each in impls.implementations("island")
    ]


def test_results_fit_80_columns_and_tell_what_is_left_out(tmp_path, capsys, monkeypatch):
    run = str(save_run(tmp_path, THREE))
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["results", run]) == 0
    text = capsys.readouterr().out
    heading, *lines = text.splitlines()
    assert heading.split()[:3] == ["variant", "step", "speed-up"]
    assert heading.split()[-1] == "verdict"
    assert max(len(line.rstrip()) for line in lines if "COLUMNS" not in line) <= 80
    assert "without forward, samples/s, saved" in text
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["results", run]) == 0
    assert "without" not in capsys.readouterr().out


def test_json_and_csv_exclude_each_other(refused):
    assert "give one, not both" in refused("list", "--json", "--csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["results", "{empty}"], "expected the folder of a run, found no records.jsonl"),
        (["results", "{above}"], "the runs below it are: "),
        (["results", "{run}", "--loss", "softmax"], "there are records of: island"),
        (["compare", "{empty}", "{run}"], "expected a run, results of asv"),
        (["report", "{empty}"], "expected a run, results of asv"),
        (["count", "island", "--variant", "otl"], "no variant 'otl' of island; there are: refe"),
        (["agreement", "island", "--variant", "otl"], "no variant 'otl' of island"),
        (["run", "--preset", "large", "--loss", "softmax"], "preset large has no size for softmax"),
        (["run", "--preset", "quick", "--batch", "7"], "no size with batch 7; here it has: 128."),
        (["scaling", "island", "--memory", "1"], "expected 1 MiB or more for a step, got 1 B"),
    ],
)
def test_a_request_that_matches_nothing_names_what_there_is(arguments, message, tmp_path, refused):
    (tmp_path / "empty").mkdir()
    run = save_run(tmp_path / "runs" / "one", THREE)
    places = {"empty": tmp_path / "empty", "above": run.parent, "run": run}
    assert message in refused(*(each.format(**places) for each in arguments))


def test_columns_are_removed_until_a_table_fits_the_first_ones_first():
    table = figures_table("variant", "long heading", "longer heading", "short")
    table.add_row("fused", "1", "2", "3")
    assert fit(table, ["long heading", "longer heading"], width_of(table) - 1) == ["long heading"]
    assert [column.header for column in table.columns] == ["variant", "longer heading", "short"]
    assert fit(table, ["longer heading"], None) == []


def test_a_folded_line_breaks_no_word():
    line = "variant: " + "word " * 30 + "x" * 100
    parts = folded(line, 40).splitlines()
    assert all(part.startswith("  ") for part in parts[1:])
    assert parts[-1].strip() == "x" * 100
    assert folded(line, None) == line
