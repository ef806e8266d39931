"""A copy of the tree that a test may add files to, and what its commands and tests then say."""

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
    """A copy of the tree, but for the results, which are a link to those of this one.

    Attributes:
        path: the folder that it is copied to.
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
        """Put text beside the one place in a file where a mark stands."""
        target = self.path / name
        content, mark = target.read_text(), after or before
        assert content.count(mark) == 1, f"{name} has {mark!r} {content.count(mark)} times"
        target.write_text(content.replace(mark, f"{after}{text}{before}"))

    def python(self, *arguments):
        """Return the finished process of Python with these arguments, run at the tree's top."""
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
        """Return what a command prints; it must succeed."""
        return self._printed("-m", "lossbench", *arguments)

    def script(self, lines):
        """Return what some lines of Python print; they must succeed."""
        return self._printed("-c", lines)

    def _printed(self, *arguments):
        done = self.python(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def failures(self, *arguments):
        """Return the names of the tests that fail, and all that pytest prints."""
        done = self.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)
        failed = re.findall(r"^(?:FAILED|ERROR) \S*?([\w.]+::\S+)", done.stdout, re.MULTILINE)
        ran = re.search(r"(\d+) passed", done.stdout)
        assert failed or (done.returncode == 0 and ran), done.stdout + done.stderr
        return set(failed), done.stdout
