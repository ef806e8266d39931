"""What asv measures: the implementations of the commit that it installed, by this tree's harness.

asv puts the working tree ahead of the installed packages, so that ``lossbench.impls`` would be the
tree's own. Called before that is imported, ``use_installed`` takes it from the commit's wheel.
"""

import atexit
import shutil
import tempfile
from importlib.metadata import distributions
from pathlib import Path

import lossbench
from lossbench.bench.paths import ROOT

ROOMS = ("impls", "reference")


def use_installed() -> None:
    """Take ``lossbench.impls`` and ``lossbench.reference`` from an installed wheel from now on.

    Where none is installed nothing changes, and the working tree is measured. The wheel of a commit
    from before the one name holds the rooms as packages of their own: a copy of them gets the name.
    """
    for found in distributions(name="lossbench"):
        for package in ("lossbench", ""):
            folder = Path(str(found.locate_file(package)))
            rooms = folder / "impls"
            if (rooms / "__init__.py").is_file() and rooms.resolve() != ROOT / "impls":
                # This module's package is imported already, so that the harness stays the tree's.
                lossbench.__path__.insert(0, str(folder if package else _renamed(folder)))
                return


def _renamed(folder: Path) -> Path:
    from lossbench.bench.gate.redirecting import redirect_folder

    copy = Path(tempfile.mkdtemp(prefix="lossbench-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for room in ROOMS:
        shutil.copytree(folder / room, copy / room)
    redirect_folder(copy, {room: f"lossbench.{room}" for room in ROOMS})
    return copy
