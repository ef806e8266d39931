"""``selftest`` writes whole figures, or nothing."""

import importlib
import json
from dataclasses import replace

import pytest

from lossbench.bench.cli import main
from tests.makers.selftests import report

# The attribute ``selftest`` of the package is the command, so the module is imported by its name.
COMMAND = importlib.import_module("lossbench.bench.cli.selftest")


def test_the_command_writes_whole_figures_and_exits_with_1_where_a_promise_fails(
    tmp_path, monkeypatch, capsys
):
    made = report(false_alarms=4)
    monkeypatch.setattr(COMMAND, "run_selftest", lambda *_: made)
    assert main(["selftest", "--out", str(tmp_path)]) == 1
    folder = tmp_path / "here"
    assert json.loads((folder / "selftest.json").read_text())["trials"][0]["verdict"] == "faster"
    assert "4/60 7% [2, 16]" in (folder / "selftest.txt").read_text()
    assert "4/60 7% [2, 16]" in capsys.readouterr().out
    passing = replace(made, trials=made.trials[4:])
    monkeypatch.setattr(COMMAND, "run_selftest", lambda *_: passing)
    assert main(["selftest", "--out", str(tmp_path)]) == 0


def test_after_ctrl_c_nothing_is_written(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMAND, "run_selftest", interrupted)
    assert main(["selftest", "--out", str(tmp_path)]) == 130
    assert list(tmp_path.iterdir()) == []
    assert "stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "0 is not in the range x>=1"),
        (["--gate-pairs", "-1"], "-1 is not in the range x>=0"),
        (["--out", "/proc/nowhere"], "expected a folder to write to"),
        (["arcface"], "Got unexpected extra argument (arcface)"),
    ],
)
def test_a_wrong_argument_is_reported_in_one_line(arguments, message, refused):
    assert message in refused("selftest", *arguments)
