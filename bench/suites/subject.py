"""Let asv measure the implementations of the commit that it installed, with this tree's harness.

asv puts the working tree before the installed packages in the import path, so ``lossbench.impls``
would be the tree's own. ``use_installed``, called before that import, takes it from the commit's
wheel.
"""

import atexit
import shutil
import tempfile
from importlib.metadata import distributions
from pathlib import Path

import lossbench
from lossbench.bench.paths import MEASURED_ROOMS, ROOT


def use_installed() -> None:
    """Import ``lossbench.impls`` and ``lossbench.reference`` from an installed wheel from now on.

    If none is installed, the working tree is measured. In the wheel of an old commit ``impls`` and
    ``reference`` are top-level packages; then a copy of them under ``lossbench`` is used.
    """
    for found in distributions(name="lossbench"):
        for package in ("lossbench", ""):
            folder = Path(str(found.locate_file(package)))
            rooms = folder / "impls"
            if (rooms / "__init__.py").is_file() and rooms.resolve() != ROOT / "impls":
                # The harness stays the tree's, because its package is imported already.
                lossbench.__path__.insert(0, str(folder if package else _renamed(folder)))
                return


def _renamed(folder: Path) -> Path:
    from lossbench.bench.gate.redirecting import redirect_folder

    copy = Path(tempfile.mkdtemp(prefix="lossbench-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for room in MEASURED_ROOMS:
        shutil.copytree(folder / room, copy / room)
    redirect_folder(copy, {room: f"lossbench.{room}" for room in MEASURED_ROOMS})
    return copy
