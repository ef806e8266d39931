"""A hash of the source code that decides what is measured, and how."""

import hashlib

from lossbench.bench.paths import PACKAGE

FOLDERS = ("bench", "impls", "reference")
"""The folders of the package that hold the harness, the implementations and the references."""
SUFFIXES = (".py", ".cpp", ".h")


def digest_sources() -> str:
    """Return a short hash of the sources on the disk, the same for a checkout and a package."""
    found = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).rglob("*")):
            if path.suffix in SUFFIXES:
                found.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
                found.update(path.read_bytes())
    return found.hexdigest()[:12]
