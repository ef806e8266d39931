"""One tidy frame of what was measured, whichever tool measured it: a row a variant in a Case.

``lossbench.load("results")`` finds everything below a folder; ``COLUMNS`` has the columns.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lossbench.bench.errors import UsageError
from lossbench.bench.frame import asv, pytest_benchmark, runs
from lossbench.bench.frame.columns import COLUMNS
from lossbench.bench.metrics import derived

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "load", "tidy"]


class Reader(Protocol):
    """A module that reads what one tool keeps."""

    def find(self, path: Path, /) -> Iterable[Path]:
        """Yield what it can read at a path, or below it where that is a folder."""

    def rows(self, path: Path, /) -> Iterable[dict[str, Any]]:
        """Return rows of what was found, under names of ``COLUMNS``."""


READERS: tuple[Reader, ...] = (runs, asv, pytest_benchmark)


def load(*paths: Path | str) -> "pd.DataFrame":
    """Return what was measured, in the columns of ``COLUMNS``.

    What lies below several of the paths is read once.

    Args:
        *paths: runs, results of asv, files of pytest-benchmark, or folders that hold some.

    Raises:
        UsageError: where a path holds none, or what it holds cannot be read.
    """
    try:
        found = {(each.resolve(), r): each for path in paths for r, each in _find(Path(path))}
        rows = [row for (_, reader), each in found.items() for row in reader.rows(each)]
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    return tidy(rows)


def tidy(rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """Return rows as a frame that has every column in its dtype, derived figures filled in.

    Raises:
        UsageError: where a value is not of its column's dtype.
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
            "holds some; there is none"
        )
    yield from found
