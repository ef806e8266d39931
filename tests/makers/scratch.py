"""Make a copy of the tree to which a test may add files, and run its commands and tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("bench", "docs", "impls", "lossbench", "reference", "tests")
FILES = ("CONTRIBUTING.md", "LICENSE", "README.md", "asv.conf.json", "pyproject.toml")
LIMIT_SECONDS = 240


class ScratchTree:
    """A copy of the tree; its results are a link to the results of this tree.

    Attributes:
        path: folder of the copy.
    """

    def __init__(self, path):
        self.path = path
        for name in ROOMS:
            ignored = shutil.ignore_patterns("__pycache__", "_build")
            shutil.copytree(ROOT / name, path / name, symlinks=True, ignore=ignored)
        for name in FILES:
            shutil.copy(ROOT / name, path)
        (path / "results").symlink_to(ROOT / "results")

    def write(self, name, text):
        """Write a new file."""
        target = self.path / name
        assert not target.exists()
        target.write_text(text)

    def insert(self, name, text, *, after="", before=""):
        """Insert text at the one place in a file that has a mark."""
        target = self.path / name
        content, mark = target.read_text(), after or before
        assert content.count(mark) == 1, f"{name} has {mark!r} {content.count(mark)} times"
        target.write_text(content.replace(mark, f"{after}{text}{before}"))

    def python(self, *arguments):
        """Run Python with arguments at the top of the tree, and return the finished process."""
        outer = ("PYTEST_", "PYTHONPATH", "COV_")
        clean = {name: v for name, v in os.environ.items() if not name.startswith(outer)}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.path,
            env=clean,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    def lossbench(self, *arguments):
        """Run a command, which must succeed, and return its output."""
        return self._printed("-m", "lossbench", *arguments)

    def script(self, lines):
        """Run lines of Python, which must succeed, and return their output."""
        return self._printed("-c", lines)

    def _printed(self, *arguments):
        done = self.python(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def failures(self, *arguments):
        """Run tests, and return the names of those that fail and the output of pytest."""
        done = self.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)
        failed = re.findall(r"^(?:FAILED|ERROR) \S*?([\w.]+::\S+)", done.stdout, re.MULTILINE)
        ran = re.search(r"(\d+) passed", done.stdout)
        assert failed or (done.returncode == 0 and ran), done.stdout + done.stderr
        return set(failed), done.stdout
