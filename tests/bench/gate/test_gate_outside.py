"""A repository of its own compares its file at two commits, with one lossbench on both sides."""

import json

import pytest

from lossbench.bench.cli import main
from lossbench.bench.gate.markdown import MARKER
from tests.bench.gate.test_gate_command import git
from tests.makers.outside import registry_kept

MINE = """
import lossbench
from lossbench.impls.vectorized.contrastive import Contrastive


@lossbench.register("contrastive", "mine")
class Mine(Contrastive):
    def forward(self, x0, x1, same):
        return super().forward(x0, x1, same)
"""
BUFFER = MINE.replace("return super", "kept = [x0.exp() for _ in range(9)]\n        return super")
OPTIONS = ("--outside", "--counts", "--batch", "8")


@pytest.fixture
def mine(tmp_path):
    """A file that two commits of a repository have, the latter with larger buffers."""
    file = tmp_path / "mine.py"
    git(tmp_path, "init", "-q")
    for code in (MINE, BUFFER):
        file.write_text(code)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "-m", "a change")
    with registry_kept():
        yield file


def test_what_a_commit_of_the_file_made_worse_is_found(mine, tmp_path):
    report, comment = tmp_path / "gate.json", tmp_path / "gate.md"
    files = ("--json", str(report), "--markdown", str(comment))
    assert main(["gate", "HEAD^1", "--with", str(mine), *OPTIONS, *files]) == 1
    document = json.loads(report.read_text())
    assert {each["variant"] for each in document["comparisons"]} == {"mine"}
    assert len(document["base"]) == 12
    worse = {each["quantity"] for each in document["findings"] if each["kind"] == "regression"}
    assert "forward_peak_bytes" in worse
    text = comment.read_text()
    assert text.startswith(f"{MARKER}\n### lossbench gate: ❌ worse\n")
    assert "| contrastive | mine | 8x128, C=100, cpu, gaussian | forward_peak_bytes |" in text


def test_a_commit_without_the_file_and_no_file_are_told(mine, refused):
    git(mine.parent, "commit", "-q", "--allow-empty", "--amend", "-m", "other")
    git(mine.parent, "mv", "mine.py", "yours.py")
    git(mine.parent, "commit", "-q", "-m", "moved")
    git(mine.parent, "mv", "yours.py", "mine.py")
    assert "mine.py is not in HEAD" in refused("gate", "HEAD", "--with", str(mine), *OPTIONS)
    nowhere = refused("gate", "nowhere", "--with", str(mine), *OPTIONS)
    assert "expected a commit of the repository of" in nowhere
    with registry_kept():
        assert "name one" in refused("gate", "HEAD", *OPTIONS)
