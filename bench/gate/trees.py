"""Two commits' code side by side in one process, each under top-level names of its own.

``impls`` and ``reference`` import themselves by their absolute names, of which a process has one
each. A copy of a tree is therefore made under other names, ``base_impls`` and ``base_reference``,
and its import statements are changed to fit; line numbers and all else stay. What follows are
ordinary packages: modules imported late, pickles and torch.compile find their own.
"""

import ast
import importlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from bench.environment import ROOT
from bench.errors import UsageError

PACKAGES = ("impls", "reference")
WORKING_TREE = "working tree"
# What the gate calls of them.
INTERFACE = ("losses", "loss", "implementations", "implementation")


@dataclass(frozen=True)
class Tree:
    """A copy of the packages of one commit.

    Attributes:
        name: what its packages' names begin with, ``base`` or ``head``.
        folder: that holds them.
        label: the commit in short, or what else it is a copy of.
    """

    name: str
    folder: Path
    label: str

    def load(self) -> ModuleType:
        """Return its ``impls``, imported from now on under its name.

        Raises:
            UsageError: where it cannot be imported, or has not the interface that is asked for.
        """
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))
            importlib.invalidate_caches()
        try:
            package = importlib.import_module(f"{self.name}_impls")
        except Exception as error:
            raise UsageError(f"{self.label}: its impls raises {error!r} at import") from error
        missing = [name for name in INTERFACE if not callable(getattr(package, name, None))]
        if missing:
            raise UsageError(f"{self.label}: its impls has no {', '.join(missing)}")
        return package

    def file(self, path: str) -> Path:
        """Return where a file of the original, ``impls/fused/center.py``, stands in the copy."""
        return self.folder / f"{self.name}_{path}"


def copy_revision(name: str, folder: Path, revision: str) -> Tree:
    """Copy the packages of a commit of this repository.

    Args:
        name: what the packages' names are to begin with.
        folder: to put them in.
        revision: the commit, in any of git's notations.

    Raises:
        UsageError: where there is no such commit, or it has no such packages.
    """
    commit = _commit(revision)
    done = _git("archive", "--format=tar", commit, "--", *PACKAGES)
    if done.returncode:
        raise UsageError(
            f"{revision} ({commit[:12]}) has no {' and '.join(PACKAGES)} to compare with"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return _renamed(Tree(name, folder, commit[:12]))


def copy_files(name: str, folder: Path) -> Tree:
    """Copy the packages of the working tree, as they are on the disk.

    Raises:
        UsageError: where there are none.
    """
    for package in PACKAGES:
        try:
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, folder / package, ignore=unwanted)
        except OSError as error:
            raise UsageError(f"{ROOT}: expected the package {package}; {error}") from error
    return _renamed(Tree(name, folder, WORKING_TREE))


def _commit(revision: str) -> str:
    done = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise UsageError(
            f"expected a commit of this repository, got {revision!r}{reason and f': {reason}'}; "
            "a shallow clone has few: git fetch --unshallow"
        )
    return done.stdout.decode().strip()


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        raise UsageError("the gate takes commits from git, which is not installed here") from None


def _renamed(tree: Tree) -> Tree:
    """Give a copy its names, on the disk and in its import statements."""
    for package in PACKAGES:
        renamed = tree.folder / f"{tree.name}_{package}"
        (tree.folder / package).rename(renamed)
        for path in renamed.rglob("*.py"):
            path.write_bytes(redirect_imports(path.read_bytes(), f"{tree.name}_"))
    return tree


def redirect_imports(source: bytes, prefix: str) -> bytes:
    """Return source in which imports of the packages take those of a prefix; lines stay in place.

    Source that is no Python is returned as it is, to raise where it is imported.
    """
    try:
        statements = list(_imports(ast.parse(source)))
    except SyntaxError:
        return source
    lines = source.splitlines(keepends=True)
    for node in sorted(statements, key=lambda s: (s.lineno, s.col_offset), reverse=True):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        before, after = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
        statement = ast.unparse(_redirected(node, prefix)).encode()
        lines[first : last + 1] = [before + statement + after, *[b"\n"] * (last - first)]
    return b"".join(lines)


def _ours(module: str | None) -> bool:
    return (module or "").split(".")[0] in PACKAGES


def _imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the statements, at the top or within functions, that import from the packages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level == 0 and _ours(node.module):
                yield node
        elif isinstance(node, ast.Import) and any(_ours(alias.name) for alias in node.names):
            yield node


def _redirected(node: ast.Import | ast.ImportFrom, prefix: str) -> ast.stmt:
    if isinstance(node, ast.ImportFrom):
        return ast.ImportFrom(f"{prefix}{node.module}", node.names, 0)
    names = []
    for alias in node.names:
        if not _ours(alias.name):
            names.append(alias)
            continue
        top, _, below = alias.name.partition(".")
        if below:
            names.append(ast.alias(prefix + alias.name, alias.asname))
        if not (below and alias.asname):
            # A plain import binds the top-level name.
            names.append(ast.alias(prefix + top, alias.asname or top))
    return ast.Import(names)
