"""``--with``: contenders from outside, in every command that takes them."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from lossbench import load
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.answer import code_of
from lossbench.bench.cli import main
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.run.plan import read_plan, register_planned
from lossbench.bench.run.reading import read_records
from lossbench.bench.scaling.capped import step_within
from lossbench.impls.outside import register_from
from tests.makers.outside import MINE, install, registry_kept, write_contender

PAGE = Path(__file__).parents[3] / "docs" / "outside.md"
SIZE = ("--batch", "16", "--dim", "8", "--classes", "4")
NOISY = """
import os

import lossbench
from lossbench.impls.vectorized.margin import ArcFace

print("imported")
os.write(1, b"written ")


@lossbench.register("arcface", "mine")
class Mine(ArcFace):
    def forward(self, embeddings, labels):
        print("called")
        return super().forward(embeddings, labels)
"""
TAKING = {
    "list": (), "show": ("arcface",), "run": (), "results": (".",), "choose": ("arcface",),
    "report": (), "compare": ("a", "b"), "agreement": ("arcface",), "conformance": (), "count":
    ("arcface",), "scaling": ("arcface",), "profile": ("arcface",), "train": (), "gate": ("HEAD",),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _registry():
    with registry_kept():
        yield


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return the file of the documentation's example, and the folder of its run."""
    folder = tmp_path_factory.mktemp("outside")
    (code,) = re.findall(r"```python\n(import torch\n.*?)```", PAGE.read_text(), re.DOTALL)
    file, run = write_contender(folder, "my_losses.py", code), folder / "run"
    arguments = ("--loss", "arcface", "--variant", "mine", *SIZE, "--budget", "0.05")
    arguments += ("--processes", "1")
    with registry_kept():
        assert main(["run", "--with", str(file), *arguments, "--out", str(run)]) == 0
    return file, run


def test_the_page_s_example_agrees_and_is_timed(measured):
    file, run = measured
    reference, mine = sorted(read_records(run), key=lambda record: record.variant != "reference")
    assert (mine.variant, mine.status) == ("mine", "passed")
    assert mine.step is not None
    assert mine.origin.source == str(file)
    assert reference.origin is None


def test_the_frame_and_the_table_name_the_origin(measured, capsys, monkeypatch):
    # A line of the table holds the whole path.
    monkeypatch.setenv("COLUMNS", "400")
    file, run = measured
    frame = load(run).set_index("variant")
    assert frame.loc["mine", "origin"].startswith(f"{file}, sha256 ")
    assert frame["origin"].isna()["reference"]
    assert main(["results", str(run), "--with", str(file)]) == 0
    assert f"mine: from {file}, sha256 " in capsys.readouterr().out.replace("\n", " ")


def test_the_report_names_the_origin(measured, tmp_path):
    file, run = measured
    assert main(["report", str(run), "--with", str(file), "--out", str(tmp_path / "page")]) == 0
    assert f"<code>mine</code>: {file}, sha256 " in (tmp_path / "page" / "index.html").read_text()


def choose(capsys, file, run, *options):
    asked = ["choose", "arcface", "--with", str(file), *SIZE, "--records", str(run)]
    assert main([*asked, "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_choose_takes_it_and_its_code_builds_it(measured, capsys):
    file, run = measured
    # The page's example is worse than the reference on some degenerate inputs.
    left_out = {each["variant"]: each for each in choose(capsys, file, run)["excluded"]}
    assert "--allow-worse allows it" in left_out["mine"]["reason"]
    found = choose(capsys, file, run, "--max-memory", "1GiB", "--allow-worse")
    candidates = [
        found["best"]["variant"],
        *(r["candidate"]["variant"] for r in found["runners_up"]),
    ]
    assert "mine" in candidates
    code = code_of(Case("arcface", 16, 8, 4), "mine")
    assert f"lossbench.register_from({str(file)!r})" in code
    with registry_kept():
        names = {}
        exec("\n".join(code.splitlines()[:-1]), names)
        assert names["module"].choice.variant == "mine"


def test_choose_uses_no_record_of_other_code(measured, capsys, tmp_path):
    file, run = measured
    edited = write_contender(tmp_path, code=file.read_text() + "\n# Edited.\n")
    found = choose(capsys, edited, run)
    left_out = {each["variant"]: each["kind"] for each in found["excluded"]}
    assert left_out["mine"] == "unmeasured"


def resumable(run, tmp_path):
    """Return a copy of a run that lacks the last of its records."""
    folder = shutil.copytree(run, tmp_path / "run")
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(lines[:-1]))
    return folder


def test_a_run_is_resumed_with_what_its_plan_names(measured, tmp_path):
    file, run = measured
    folder = resumable(run, tmp_path)
    assert main(["run", "--resume", str(folder)]) == 0
    origins = {record.variant: record.origin for record in read_records(folder)}
    assert origins["mine"].source == str(file)


def test_a_run_is_not_resumed_with_other_code(measured, tmp_path):
    file, run = measured
    folder = resumable(run, tmp_path)
    edited = write_contender(tmp_path, code=MINE)
    plan = folder / "plan.json"
    plan.write_text(plan.read_text().replace(json.dumps(str(file)), json.dumps(str(edited))))
    with pytest.raises(
        UsageError, match=r"mine\.py has changed: expected .*; got .*; restore it, or"
    ):
        register_planned(read_plan(folder))


def test_resume_takes_no_other_files(measured, refused):
    file, run = measured
    assert "--resume takes no other option but --mixed and --on, got --with" in refused(
        "run", "--resume", str(run), "--with", str(file)
    )


def test_what_a_contender_prints_spoils_no_output(tmp_path, capfd):
    file = write_contender(tmp_path, code=NOISY)
    assert main(["count", "arcface", "--with", str(file), "--variant", "mine", *SIZE]) == 0
    out, errors = capfd.readouterr()
    assert "imported" not in out
    assert "written" not in out
    assert "written" in errors
    assert "called" not in out
    assert errors.count("imported") == 1
    assert "mine" in out


def test_the_capped_process_of_scaling_has_it(tmp_path):
    register_from(write_contender(tmp_path))
    worker = Worker(1)
    try:
        worker.ask(120, step_within, Case("arcface", 16, 8, 4), "mine", 2**28)
    finally:
        worker.close()


def test_a_file_that_is_edited_while_it_is_measured_is_told(tmp_path):
    file = write_contender(tmp_path)
    register_from(file)
    file.write_text(MINE + "\n# Edited.\n")
    worker = Worker(1)
    try:
        with pytest.raises(Lost, match=r"mine\.py has changed: expected"):
            worker.ask(120, step_within, Case("arcface", 16, 8, 4), "mine", 2**28)
    finally:
        worker.close()


def test_the_gate_compares_it_over_both_trees(tmp_path, capsys):
    file, report = write_contender(tmp_path), tmp_path / "gate.json"
    options = ("--loss", "arcface", "--variant", "mine", *SIZE, "--counts", "--json", str(report))
    assert main(["gate", "HEAD", "--with", str(file), *options]) == 0
    assert "1 cells compared" in capsys.readouterr().out
    (compared,) = json.loads(report.read_text())["comparisons"]
    assert [compared[tree]["status"] for tree in ("base", "head")] == ["passed", "passed"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("agreement", "arcface", "--variant", "mine", *SIZE),
        ("conformance", "arcface"),
        ("scaling", "arcface", "--variant", "mine", *SIZE, "--budget", "0.02", "--memory", "8MiB"),
        ("profile", "arcface", "mine", *SIZE, "--steps", "1"),
        ("train", "--loss", "arcface", "--variant", "mine", "--epochs", "1", "--no-share"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_measures_it(command, measured, tmp_path, capsys):
    file, _ = measured
    writes = ("--out", str(tmp_path / "out")) if command[0] in ("profile", "train") else ()
    assert main([*command, "--with", str(file), *writes]) == 0
    out = capsys.readouterr().out
    assert "mine" in out
    assert "failed" not in out


@pytest.mark.parametrize("command", TAKING)
def test_every_command_takes_it_and_tells_what_is_not_there(command, refused):
    message = refused(command, *TAKING[command], "--with", "/no where/mine.py")
    assert message == (
        "error: /no where/mine.py: No such file or directory; expected a Python file or a module"
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nx / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("def f(:\n", "line 1: SyntaxError: invalid syntax"),
        ("x = 1\n", "registers nothing; expected a class or function under @lossbench.register("),
        ("import sys\nsys.exit(3)\n", "line 2: SystemExit: 3"),
        ("import acme_no_such\n", "ModuleNotFoundError: No module named 'acme_no_such'"),
        ("raise ValueError('a\\x1b[31mb\\nc')\n", r"ValueError: a\x1b[31mb c"),
        ("\0", "SyntaxError: source code string cannot contain null bytes"),
        (MINE.replace('"mine"', '"fused"'), "arcface: the variant 'fused' is registered already"),
        (MINE + MINE, "arcface: the variant 'mine' is registered already"),
        (MINE.replace('"arcface"', '"arcfaec"'), "unknown loss 'arcfaec'"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_line(code, message, tmp_path, refused):
    file = write_contender(tmp_path, code=code)
    said = refused("show", "arcface", "--with", str(file))
    assert said.startswith(f"error: {file}")
    assert message in said


def test_a_folder_and_a_missing_module_are_told(tmp_path, refused):
    assert refused("list", "--with", f"{tmp_path}/").endswith(
        f"{tmp_path}: expected a Python file or a module, got a folder"
    )
    assert refused("list", "--with", "acme_no_such.losses").endswith(
        "acme_no_such.losses: no such file or module"
    )


def test_a_broken_entry_point_is_a_warning_and_the_rest_works(tmp_path, capsys):
    write_contender(tmp_path, "acme_broken.py", "1 / 0")
    file = write_contender(tmp_path, "acme_whole.py")
    install(file.parent, "acme", {"broken": "acme_broken", "whole": "acme_whole"})
    sys.path.append(str(file.parent))
    assert main(["show", "arcface"]) == 0
    out, errors = capsys.readouterr()
    (warning,) = errors.splitlines()
    assert warning.startswith("warning: the entry point broken of lossbench.implementations: ")
    assert "\nmine\n" in out
