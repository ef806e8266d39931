"""The folder of a first light: made, gone on with, and packed into one file."""

import os
import tarfile
from pathlib import Path

from lossbench.bench.errors import UsageError, writing
from lossbench.bench.first_light.progress import PROGRESS, write_progress

ARCHIVE = "first-light.tar.gz"


def begin(folder: Path) -> None:
    """Make the folder of a new first light.

    Raises:
        UsageError: if it has a first light already, or cannot be made.
    """
    if (folder / PROGRESS).exists():
        raise UsageError(f"{folder} has a first light already; --resume {folder} goes on with it")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_progress(folder, {})


def pack(folder: Path) -> Path:
    """Pack all files of a first light into one, in its folder, and return it.

    Raises:
        UsageError: if it cannot be written.
    """
    archive = folder / ARCHIVE
    part = archive.with_suffix(".part")
    with writing(folder):
        with tarfile.open(part, "w:gz") as tar:
            for path in sorted(folder.iterdir()):
                if path not in (archive, part):
                    tar.add(path, f"{folder.name}/{path.name}")
        os.replace(part, archive)
    return archive
