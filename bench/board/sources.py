"""Read the Records of runs and bundles for the board, with the name of who measured each."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.frame.runs import find
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import Record
from lossbench.bench.submit.bundle import SUFFIX, is_bundle, read_bundle
from lossbench.bench.submit.checks import check_bundle

Key = tuple[str, str, Case, str]


@dataclass(frozen=True)
class BoardRecords:
    """The Records of a board.

    Attributes:
        records: every readable Record.
        submitters: names of who measured, by the key of the Record; only those of bundles.
        left_out: reasons why runs and bundles were left out, one line each.
    """

    records: tuple[Record, ...]
    submitters: Mapping[Key, str]
    left_out: tuple[str, ...]

    def measured_by(self, record: Record) -> str:
        """Return who measured a Record: the name in its bundle, or the name of the machine."""
        return self.submitters.get(_key(record)) or record.environment.machine


def load_board(paths: Iterable[Path]) -> BoardRecords:
    """Return the Records of runs, bundles, and folders of both.

    A run or bundle that cannot be read is left out, since one submission must not end the board.

    Raises:
        UsageError: if there is none that can be read.
    """
    records, submitters, left_out = list[Record](), dict[Key, str](), list[str]()
    sources = dict.fromkeys(source for path in paths for source in _sources(path))
    for source in sources:
        try:
            by, found = _read(source)
        except UsageError as error:
            text = str(error)
            left_out.append(text if text.startswith(str(source)) else f"{source}: {text}")
            continue
        records += found
        submitters.update({_key(record): by for record in found if by})
    if not records:
        raise UsageError(f"no records to show: {'; '.join(left_out) or 'the runs have none yet'}")
    return BoardRecords(tuple(records), submitters, tuple(left_out))


def _sources(path: Path) -> Iterator[Path]:
    """Yield the bundles and the folders of runs at a path or below it.

    Raises:
        UsageError: if there are none.
    """
    found = [path] if path.is_file() and is_bundle(path) else []
    found += [*find(path), *sorted(path.rglob(f"*{SUFFIX}"))]
    if not found:
        raise UsageError(
            f"{path}: expected a run, a file *{SUFFIX}, or a folder with some; found none"
        )
    yield from found


def _read(source: Path) -> tuple[str, Iterable[Record]]:
    """Return who measured, empty if it is a run, and the Records.

    Raises:
        UsageError: if it cannot be read, or is a bundle that cannot be true.
    """
    if not is_bundle(source):
        return "", read_records(source)
    bundle = read_bundle(source)
    refusals = check_bundle(bundle)
    if refusals:
        raise UsageError(f"{refusals[0]}{' and more' * (len(refusals) > 1)}")
    return bundle.by, bundle.records


def _key(record: Record) -> Key:
    return record.environment.machine, record.made, *record.cell
