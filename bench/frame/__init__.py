"""Load measurements of all tools into one tidy pandas frame, with one row per variant and Case.

``lossbench.load("results")`` reads everything below a folder; ``COLUMNS`` describes the columns.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lossbench.bench.collector import paused_collector
from lossbench.bench.errors import UsageError
from lossbench.bench.frame import asv, pytest_benchmark, runs
from lossbench.bench.frame.columns import COLUMNS
from lossbench.bench.metrics import derived

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "load", "tidy"]


class Reader(Protocol):
    """A module that reads the files of one tool."""

    def find(self, path: Path, /) -> Iterable[Path]:
        """Yield the files or runs that it can read at a path, or below a folder."""

    def rows(self, path: Path, /) -> Iterable[dict[str, Any]]:
        """Return the rows of a file or run, with keys of ``COLUMNS``."""


READERS: tuple[Reader, ...] = (runs, asv, pytest_benchmark)


def load(*paths: Path | str) -> "pd.DataFrame":
    """Return the measurements at some paths as a frame with the columns of ``COLUMNS``.

    A file below several of the paths is read once.

    Args:
        *paths: runs, results of asv, files of pytest-benchmark, or folders that contain them.

    Raises:
        UsageError: if there are none at a path, or they cannot be read.
    """
    try:
        with paused_collector():
            rows = [row for reader, each in sources(*paths) for row in reader.rows(each)]
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    return tidy(rows)


def sources(*paths: Path | str) -> list[tuple[Reader, Path]]:
    """Return the runs and files at some paths, each once, with the module that reads it.

    Raises:
        UsageError: if there are none at a path.
    """
    found = {(each.resolve(), r): each for path in paths for r, each in _find(Path(path))}
    return [(reader, each) for (_, reader), each in found.items()]


def tidy(rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """Return rows as a frame with every column in its dtype, and compute the derived figures.

    Raises:
        UsageError: if a value does not have its column's dtype.
    """
    import pandas as pd

    whole = [{**row, **derived(row)} for row in rows]
    frame = pd.DataFrame(whole, columns=list(COLUMNS))
    for name, (dtype, _) in COLUMNS.items():
        try:
            frame[name] = frame[name].astype(pd.api.types.pandas_dtype(dtype))
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"column {name}: expected {dtype}; {error}") from error
    return frame


def _find(path: Path) -> Iterator[tuple[Reader, Path]]:
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    found = [(reader, each) for reader in READERS for each in reader.find(path)]
    if not found:
        raise UsageError(
            f"{path}: expected a run, results of asv, a file of pytest-benchmark, or a folder that "
            "contains one; found none"
        )
    yield from found
