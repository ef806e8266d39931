"""Import the code of two commits in one process, each under its own top-level name.

A tree is copied as the package ``base_lossbench``, and its import statements are rewritten to that
name; line numbers do not change. The copy is an ordinary package, so late imports, pickles and
torch.compile find their modules in it.
"""

import importlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from lossbench.bench.errors import UsageError
from lossbench.bench.gate.redirecting import redirect_folder, redirect_imports
from lossbench.bench.paths import MEASURED_ROOMS, ROOT

WORKING_TREE = "working tree"
# The code of a copy's top-level module: like lossbench's, it gives the names of its ``impls``.
PUBLIC_NAMES = """from importlib import import_module


def __getattr__(name):
    return getattr(import_module(f"{__name__}.impls"), name)
"""
# The functions of ``impls`` that the gate calls.
INTERFACE = ("losses", "loss", "implementations", "implementation")


@dataclass(frozen=True)
class Tree:
    """A copy of the implementations of one commit.

    Attributes:
        name: prefix of the package's name, ``base`` or ``head``.
        folder: parent folder of the package.
        label: short hash of the commit, or "working tree".
        outside: names of the modules in the package that are copies of files from outside.
    """

    name: str
    folder: Path
    label: str
    outside: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """The name of the copy's package."""
        return f"{self.name}_lossbench"

    def load(self) -> ModuleType:
        """Import and return the ``impls`` package of the copy.

        Raises:
            UsageError: if it cannot be imported, or lacks a function that the gate calls.
        """
        if str(self.folder) not in sys.path:
            sys.path.append(str(self.folder))
            importlib.invalidate_caches()
        try:
            package = importlib.import_module(f"{self.package}.impls")
        except Exception as error:
            raise UsageError(f"{self.label}: its impls raises {error!r} at import") from error
        self._load_outside()
        missing = [name for name in INTERFACE if not callable(getattr(package, name, None))]
        if missing:
            raise UsageError(f"{self.label}: its impls has no {', '.join(missing)}")
        return package

    def _load_outside(self) -> None:
        for name in self.outside:
            try:
                importlib.import_module(f"{self.package}.{name}")
            except Exception as error:
                raise UsageError(f"{self.label}: a file of --with raises {error!r}") from error

    def file(self, path: str) -> Path:
        """Return the path in the copy of a file of the tree, such as ``impls/fused/center.py``."""
        return self.folder / self.package / path


def copy_revision(name: str, folder: Path, revision: str) -> Tree:
    """Copy the implementations of a commit of this repository.

    Args:
        name: prefix of the copy's package name.
        folder: folder to copy into.
        revision: commit, in any of git's notations.

    Raises:
        UsageError: if there is no such commit, or it has no implementations.
    """
    commit = _commit(revision)
    done = _git("archive", "--format=tar", commit, "--", *MEASURED_ROOMS)
    if done.returncode:
        raise UsageError(
            f"{revision} ({commit[:12]}) has no {' and '.join(MEASURED_ROOMS)} to compare with"
        )
    tree = Tree(name, folder, commit[:12])
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder / tree.package, filter="data")
    return _as_package(tree)


def copy_files(name: str, folder: Path) -> Tree:
    """Copy the implementations of the working tree, as they are on the disk.

    Raises:
        UsageError: if there are none.
    """
    tree = Tree(name, folder, WORKING_TREE)
    for room in MEASURED_ROOMS:
        try:
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / room, tree.file(room), ignore=unwanted)
        except OSError as error:
            raise UsageError(f"{ROOT}: expected the folder {room}; {error}") from error
    return _as_package(tree)


def with_outside(tree: Tree, codes: Iterable[bytes]) -> Tree:
    """Return a tree with modules of code from outside, which register in the tree's own registry.

    Args:
        tree: tree to add the modules to.
        codes: source code of each module.
    """
    names = []
    for number, code in enumerate(codes):
        names.append(f"outside_{number}")
        copy = redirect_imports(code, {"lossbench": tree.package})
        tree.file(f"{names[-1]}.py").write_bytes(copy)
    return replace(tree, outside=tuple(names))


def read_files(files: Iterable[Path]) -> list[bytes]:
    """Return the content of files from outside, as they are on the disk.

    Raises:
        UsageError: if one cannot be read.
    """
    codes = []
    for path in files:
        try:
            codes.append(path.read_bytes())
        except OSError as error:
            raise UsageError(
                f"{path}: {error.strerror}; expected a file that can be read"
            ) from error
    return codes


def read_files_at(files: Iterable[Path], revision: str) -> tuple[str, list[bytes]]:
    """Return the short hash of a commit of the files' own repository, and their content there.

    Raises:
        UsageError: if there is no such commit, or it lacks one of the files.
    """
    commit, codes = "", []
    for path in files:
        commit = _commit(revision, path.parent)
        done = _git("show", f"{commit}:./{path.name}", folder=path.parent)
        if done.returncode:
            raise UsageError(
                f"{path} is not in {revision} ({commit[:12]}): nothing to compare with"
            )
        codes.append(done.stdout)
    return commit[:12], codes


def _commit(revision: str, folder: Path | None = None) -> str:
    """Return the hash of a commit of a folder's repository, by default that of lossbench."""
    done = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", folder=folder)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        where = f"the repository of {folder}" if folder else "this repository"
        raise UsageError(
            f"expected a commit of {where}, got {revision!r}{reason and f': {reason}'}; "
            "a shallow clone has few: git fetch --unshallow"
        )
    return done.stdout.decode().strip()


def _git(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = ["git", *arguments]
    try:
        return subprocess.run(command, cwd=folder or ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        raise UsageError("the gate needs git, which is not installed here") from None


def _as_package(tree: Tree) -> Tree:
    """Make a copy importable under its own name, whatever names its commit's imports use."""
    tree.file("__init__.py").write_text(PUBLIC_NAMES)
    # In older commits ``impls`` and ``reference`` were top-level packages.
    old = {room: f"{tree.package}.{room}" for room in MEASURED_ROOMS}
    redirect_folder(tree.file(""), {"lossbench": tree.package, **old})
    return tree
