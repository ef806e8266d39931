"""A run is resumed in the setting that it was started in, or is marked as a mixture."""

import subprocess
from dataclasses import replace

import pytest

from lossbench.bench.cli import main
from lossbench.bench.errors import UsageError
from lossbench.bench.machine import environment as environments
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.report import write_report
from lossbench.bench.run.mixture import check_unmixed, mixture_of, setting_of
from lossbench.bench.run.plan import RunPlan, start_run
from lossbench.bench.run.reading import read_records
from tests.makers.records import ENVIRONMENT, record
from tests.makers.runs import save_run

NOW = current_environment(machine="here", threads=1)
ISLAND = record().case


def begun(folder, **changes):
    """Make a run with one record of two cells, made in another setting than the present one."""
    start_run(folder, RunPlan(((ISLAND, ("vectorized", "reference")),), 0.01, 60, 1, "here"))
    return save_run(folder, [record(environment=replace(NOW, **changes))])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"commit": "0" * 40}, "commit 000000000000"),
        ({"dirty": True, "changes": "abc"}, "with uncommitted changes abc"),
        ({"torch": "1.0"}, f"torch 1.0 and {NOW.torch}"),
        ({"python": "2.7"}, f"python 2.7 and {NOW.python}"),
        ({"packages": NOW.packages | {"numpy": "0.1"}}, "numpy 0.1 and"),
        ({"packages": {**NOW.packages, "liger-kernel": "9"}}, "liger-kernel 9 and"),
        ({"machine": "there"}, "machine there and here"),
        ({"cpu": "another"}, "processor another and"),
        ({"threads": 7}, "threads 7 and 1"),
        ({"variables": NOW.variables | {"OMP_X": "1"}}, "OMP_X 1 and none"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_of_another_setting_is_not_resumed(tmp_path, refused, changes, words):
    folder = begun(tmp_path / "run", **changes)
    line = refused("run", "--resume", str(folder))
    assert "would become a mixture of " in line
    assert words in line
    assert "--mixed" in line
    assert len(read_records(folder)) == 1


def test_a_mixture_by_choice_is_marked_wherever_the_run_is_shown(tmp_path, capsys):
    folder = begun(tmp_path / "run", torch="1.0")
    assert main(["run", "--resume", str(folder), "--mixed"]) == 0
    words = f"a mixture of torch 1.0 and {NOW.torch}"
    assert words in capsys.readouterr().err
    assert [each.variant for each in read_records(folder)] == ["vectorized", "reference"]
    assert main(["results", str(folder)]) == 0
    assert words in capsys.readouterr().err
    assert words in write_report([folder], tmp_path / "report").read_text()
    assert main(["compare", str(folder), str(folder)]) == 0
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_run_of_the_same_setting_is_resumed(tmp_path):
    folder = begun(tmp_path / "run", conditions=replace(NOW.conditions, load=99.0))
    check_unmixed(folder, RunPlan((), 1.0, 1.0, 1, "here"))
    check_unmixed(tmp_path / "new", RunPlan((), 1.0, 1.0, 1, "here"))


def test_workers_of_an_engine_may_be_other_machines_with_the_same_software(tmp_path):
    sweep = RunPlan((), 1.0, 1.0, 0, "", engine="dask://host:1")
    check_unmixed(begun(tmp_path / "hardware", machine="there", cpu="another", threads=7), sweep)
    folder = begun(tmp_path / "software", torch="1.0")
    with pytest.raises(UsageError, match=r"would become a mixture of torch 1.0 and"):
        check_unmixed(folder, sweep)


def test_mixed_is_for_resuming(refused):
    assert "give its folder with --resume" in refused("run", "--mixed", "--preset", "ci")


def test_one_setting_is_no_mixture():
    assert mixture_of([]) == mixture_of([setting_of(ENVIRONMENT)] * 2) == ""


def test_what_libraries_and_the_harness_set_is_not_the_user_s(monkeypatch):
    monkeypatch.setenv("KMP_INIT_AT_FORK", "FALSE")
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    variables = current_environment().variables
    assert variables["OMP_PROC_BIND"] == "true"
    assert "KMP_INIT_AT_FORK" not in variables


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a small checkout that stands in for this one."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "a.py").write_text("one\n")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    return tmp_path


def test_uncommitted_changes_are_told_apart(checkout):
    clean = current_environment()
    assert (clean.dirty, clean.changes, clean.uncommitted) == (False, "", "")
    hashes = set()
    for name, text in (("a.py", "two\n"), ("a.py", "six\n"), ("b.py", "new\n"), ("b.py", "old\n")):
        (checkout / "bench" / name).write_text(text)
        found = current_environment()
        assert found.dirty
        assert found.revision == f"{clean.commit} with uncommitted changes {found.changes}"
        hashes.add(found.changes)
    assert len(hashes) == 4
    (checkout / "README.md").write_text("no code\n")
    assert current_environment().changes in hashes
