"""The folders of the package, and those in which records are read and written."""

import os
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import lossbench
from lossbench.bench.errors import UsageError, writing

IMPORT_FOLDER = Path(lossbench.__file__).absolute().parent.parent
"""The folder that Python imports ``lossbench`` from: a checkout's root, or site-packages."""

PACKAGE = Path(__file__).resolve().parent.parent
"""The folder of ``bench``, ``impls`` and ``reference``: a checkout's root, or the package."""

IN_CHECKOUT = (PACKAGE / "pyproject.toml").is_file()
"""Whether this is a git checkout, with history, tests and documentation, or a package."""

ROOT = PACKAGE
"""The root of the checkout, for code that needs a checkout."""

RECOMMENDED = PACKAGE / "impls" / "recommended.json"
"""The table that ``lossbench.build(..., variant="auto")`` reads."""

GOLDEN = PACKAGE / "reference" / "golden"
"""The folder of the golden vectors: what the documents' own code gives."""

SHIPPED_RESULTS = PACKAGE / "results"
"""The folder of the records that come with lossbench."""

RESULTS = SHIPPED_RESULTS if IN_CHECKOUT else Path("results")
"""The folder of own measurements, in the checkout or else in the current folder."""

COMPAT_FILE = "compat.json"
"""The name of the file of results that says which implementations are right on which torch."""

RUNS = RESULTS / "runs"
"""The folder of new runs."""

SELFTESTS = RESULTS / "selftest"
"""The folder of the figures of `selftest`, `gate-proof` and `choose-check`."""


def import_path() -> str:
    """Return ``PYTHONPATH`` for a child process: this package first, then what it has here."""
    return os.pathsep.join(filter(None, (str(IMPORT_FOLDER), os.environ.get("PYTHONPATH"))))


def records_folders() -> tuple[Path, ...]:
    """Return the folders to search for records: the user's own, and the shipped ones."""
    folders = dict.fromkeys((RESULTS, SHIPPED_RESULTS))
    return tuple(folder for folder in folders if folder.is_dir())


def new_folder(parent: Path, prefix: str = "") -> Path:
    """Make a folder named by the time, and by a number if another was made in the same second.

    Args:
        parent: folder to make it in; made too if missing.
        prefix: first part of the name.

    Raises:
        UsageError: if it cannot be made.
    """
    stamp = f"{prefix}{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        numbers = count(2)
        folder = parent / stamp
        while not _made(folder):
            folder = parent / f"{stamp}-{next(numbers)}"
    return folder


def _made(folder: Path) -> bool:
    # Made and tested in one: of two commands that start at once, one makes it.
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def check_checkout(what: str) -> None:
    """Refuse a command that needs the history, tests or tools of a checkout.

    Args:
        what: command or option that needs them.

    Raises:
        UsageError: if lossbench is installed as a package.
    """
    if not IN_CHECKOUT:
        raise UsageError(f"{what} needs a checkout of lossbench; this is the package in {PACKAGE}")


MEASURED_ROOMS = ("impls", "reference")
"""The rooms that are measured: the gate and asv take them from several commits."""
