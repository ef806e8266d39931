"""The command ``gate`` reports real regressions."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from lossbench.bench.cli import main
from lossbench.bench.gate import trees
from lossbench.bench.gate.plant import plant, source_of
from lossbench.bench.paths import ROOT


def git(repository, *arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository whose first commit has no implementations; the second has, and is tagged."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "nothing")
    git(folder, "tag", "empty")
    for tag, source in (("bare", ""), ("broken", "def\n")):
        for package in ("impls", "reference"):
            (folder / package).mkdir(exist_ok=True)
            (folder / package / "__init__.py").write_text(source)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", tag)
        git(folder, "tag", tag)
        shutil.rmtree(folder / "impls")
        shutil.rmtree(folder / "reference")
    unwanted = shutil.ignore_patterns("__pycache__")
    for package in ("bench", "impls", "lossbench", "reference"):
        shutil.copytree(ROOT / package, folder / package, symlinks=True, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", folder)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")
    git(folder, "tag", "good")
    return folder


@pytest.fixture
def scratch(repository, monkeypatch, tmp_path):
    """The repository in place of the harness's own; files left behind are counted afterwards."""
    monkeypatch.setattr(trees, "ROOT", repository)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield repository
    git(repository, "reset", "-q", "--hard", "good")
    git(repository, "clean", "-q", "-fd")
    assert list(tmp_path.glob("lossbench-*")) == []


QUICK = ("--loss", "contrastive", "--variant", "fused", "--batch", "64", "--budget", "0.1")


@pytest.mark.usefixtures("scratch")
def test_identical_code_passes_interleaved(tmp_path, capsys):
    file = tmp_path / "gate.json"
    code = main(["gate", "good", *QUICK, "--margin", "900%", "--json", str(file)])
    assert code == 0
    (seen,) = json.loads(file.read_text())["comparisons"]
    assert seen["base"] == seen["head"]
    for phase in ("forward", "step"):
        (samples,) = seen["screened"][phase]["processes"]
        assert len(samples["seconds"]) == len(samples["reference_seconds"]) >= 6
        assert samples["seconds"] != samples["reference_seconds"]
    assert "0 worse" in capsys.readouterr().out


NEW = """

@register("contrastive", "mine")
class Mine(Contrastive):
    '''New.'''
"""
SOURCE = source_of("contrastive")


def append(repository, text):
    with (repository / SOURCE).open("a") as file:
        file.write(text)


def command_of(repository, tmp_path, *arguments):
    """Return a function that runs the command as a user does, and the folder of its files."""
    (tmp_path / "own").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "own"), "OMP_NUM_THREADS": "1"}
    how = {"cwd": repository, "env": environment, "text": True}
    return [sys.executable, "-m", "lossbench", "gate", *arguments], how


@pytest.mark.slow
def test_the_command_names_what_is_slower_and_exits_with_1(scratch, tmp_path):
    plant(scratch / SOURCE, "contrastive", "slower", share=2.0)
    append(scratch, NEW)
    command, how = command_of(scratch, tmp_path, "good", *QUICK, "--json", str(tmp_path / "json"))
    done = subprocess.run(command, capture_output=True, check=False, timeout=300, **how)
    assert done.returncode == 1, done.stderr
    told = json.loads((tmp_path / "json").read_text())["findings"]
    (slow,) = [finding for finding in told if finding["quantity"] == "forward"]
    assert (slow["kind"], slow["loss"], slow["variant"]) == ("regression", "contrastive", "fused")
    assert slow["interval"]["low"] > 2
    assert slow["processes"] >= 3
    line = next(line for line in done.stdout.splitlines() if " forward " in line)
    for part in ("contrastive", "fused", "64x128, C=100", "fresh processes", slow["text"]):
        assert part in line
    assert [f["text"] for f in told if f["variant"] == "mine"] == ["new"]
    assert list((tmp_path / "own").iterdir()) == []


def test_ctrl_c_leaves_nothing(scratch, tmp_path):
    command, how = command_of(scratch, tmp_path, "good", "--loss", "contrastive")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how) as gate:
        # The first cell has begun, so trees and worker exist.
        assert "[1/" in gate.stderr.readline()
        assert list((tmp_path / "own").iterdir())
        gate.send_signal(signal.SIGINT)
        assert gate.wait(30) == 130
        assert "Traceback" not in gate.stderr.read()
    assert list((tmp_path / "own").iterdir()) == []


def test_a_planted_buffer_is_found_without_a_clock(scratch, capsys):
    plant(scratch / SOURCE, "contrastive", "buffer")
    assert main(["gate", "good", *QUICK, "--counts"]) == 1
    line = next(
        line for line in capsys.readouterr().out.splitlines() if "forward_peak_bytes" in line
    )
    assert "contrastive" in line
    assert "fused" in line
    assert "%" in line


WRONG = """
_forward = Contrastive.forward
Contrastive.forward = lambda *inputs, **named: LossOnly(1.01 * _forward(*inputs, **named).loss)
"""
RAISING = """
def _raise(*_, **__):
    raise RuntimeError("broken at head")
Contrastive.forward = _raise
"""
DYING = """
import os
Contrastive.forward = lambda *_, **__: os._exit(3)
"""


@pytest.mark.parametrize(
    ("edit", "code", "message"),
    [
        (WRONG, 1, "passed in the base, refused (out.loss is off by 1.0e-02"),
        (RAISING, 1, "failed (RuntimeError: broken at head) in the head"),
        (DYING, 2, "crashed (the worker ended with exit code 3) in the head"),
    ],
)
def test_a_head_that_is_broken_fails_and_one_that_is_lost_cannot_be_measured(
    edit, code, message, scratch, capsys
):
    append(scratch, edit)
    assert main(["gate", "good", *QUICK]) == code
    assert message in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nowhere", "expected a commit of this repository, got 'nowhere'"),
        ("empty", "has no impls and reference to compare with"),
        ("bare", "its impls has no losses, loss, implementations, implementation"),
        ("broken", "its impls raises SyntaxError"),
    ],
)
def test_a_base_that_cannot_be_measured_exits_with_2(base, message, refused):
    assert message in refused("gate", base, *QUICK)


def test_another_commit_can_be_the_head(scratch, capsys):
    plant(scratch / SOURCE, "contrastive", "buffer")
    assert main(["gate", "good", "--head", "good", *QUICK, "--counts"]) == 0
    assert "1 cells compared, 0 timed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'BASE'"),
        (["HEAD", "--margin", "much"], "expected a percentage such as 5%, got 'much'"),
        (["HEAD", "--loss", "arcfaec"], "no loss 'arcfaec'; did you mean 'arcface'?"),
        (["HEAD", "--budget", "0"], "0.0 is not in the range x>0"),
        (["HEAD", "--json", "/nowhere/gate.json"], "in an existing folder"),
    ],
)
def test_a_wrong_argument_is_told_in_a_line(arguments, message, refused):
    assert message in refused("gate", *arguments)


@pytest.mark.usefixtures("scratch")
def test_an_unknown_variant_is_told_with_those_there_are(refused):
    message = refused("gate", "good", "--loss", "contrastive", "--variant", "nope")
    assert "share no variant 'nope' to compare; the head has: fused, fused+compile" in message
