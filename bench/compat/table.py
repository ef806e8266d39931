"""The table of what is right on which torch: a column a release, device and architecture."""

import platform
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from lossbench import impls
from lossbench.bench.compat.proof import CompatProof
from lossbench.bench.errors import writing
from lossbench.bench.machine.environment import Environment
from lossbench.bench.paths import COMPAT_FILE, records_folders
from lossbench.bench.run.order import is_registered, place_of_variant
from lossbench.bench.stamped import KEPT, load_report
from lossbench.impls.torch_release import release_of, release_text


@dataclass(frozen=True, config=KEPT)
class CompatRow:
    """What was found of one implementation.

    Attributes:
        loss: name of the Loss.
        variant: name of the variant.
        foreign: whether a third party computes it.
        proof: result of its trials.
    """

    loss: str
    variant: str
    foreign: bool
    proof: CompatProof


@dataclass(frozen=True, config=KEPT)
class CompatColumn:
    """What was found on one torch.

    Attributes:
        environment: machine and software, torch's version among it.
        made: time of the last row, ISO 8601 in UTC.
        device: device type of the computations.
        architecture: architecture of the processor, such as ``x86_64``.
        rows: results, one per implementation that was tried.
    """

    environment: Environment
    made: str
    device: str
    architecture: str
    rows: tuple[CompatRow, ...]

    @property
    def release(self) -> tuple[int, int]:
        """The release of torch, as ``(2, 13)``."""
        return release_of(self.environment.torch)

    @property
    def place(self) -> tuple[tuple[int, int], str, str]:
        """The place of the column in the table: release, device and architecture."""
        return self.release, self.device, self.architecture

    @property
    def heading(self) -> str:
        """The column's heading: ``2.13``, with the device and architecture if unusual."""
        words = [release_text(self.release)]
        words += [self.device] if self.device != "cpu" else []
        words += [self.architecture] if self.architecture != "x86_64" else []
        return " ".join(words)

    def proof_of(self, loss: str, variant: str) -> CompatProof | None:
        """Return what was found of an implementation; ``None`` if it was not tried."""
        found = (row.proof for row in self.rows if (row.loss, row.variant) == (loss, variant))
        return next(found, None)

    def counts(self, *, foreign: bool) -> Counter[str]:
        """Return how often each standing was found, of third parties or of all others."""
        return Counter(row.proof.standing for row in self.rows if row.foreign == foreign)

    def joined(self, newer: "CompatColumn") -> "CompatColumn":
        """Return the newer column, with this one's rows where the newer has none."""
        mine = {(row.loss, row.variant): row for row in self.rows}
        rows = mine | {(row.loss, row.variant): row for row in newer.rows}
        known = (row for row in rows.values() if is_registered(row.loss, row.variant))
        return replace(newer, rows=tuple(sorted(known, key=_place_of_row)))


@dataclass(frozen=True, config=KEPT)
class CompatTable:
    """The columns, the oldest release first.

    Attributes:
        columns: a column per release, device and architecture.
        schema: version of the layout. 1: the first.
    """

    columns: tuple[CompatColumn, ...] = ()
    schema: int = 1

    def to_json(self) -> str:
        """Return the table as JSON."""
        return TypeAdapter(CompatTable).dump_json(self, indent=1).decode() + "\n"

    def including(self, column: CompatColumn) -> Self:
        """Return the table with a column joined to the one in its place, or added."""
        columns = {each.place: each for each in self.columns}
        known = columns.get(column.place)
        columns[column.place] = known.joined(column) if known else column
        return replace(self, columns=tuple(columns[place] for place in sorted(columns)))

    def of_device(self, device: str) -> tuple[CompatColumn, ...]:
        """Return the columns of a device type on this computer's architecture."""
        here = platform.machine()
        return tuple(c for c in self.columns if (c.device, c.architecture) == (device, here))

    @property
    def losses(self) -> list[str]:
        """The names of the losses in any column, in the order of the catalogue."""
        rows = (row for column in self.columns for row in column.rows)
        return list(dict.fromkeys(row.loss for row in sorted(rows, key=_place_of_row)))

    def rows_of(self, loss: str) -> dict[str, list[CompatProof | None]]:
        """Return the proofs of a Loss's variants, one per column; ``None`` if not tried."""
        rows = (row for column in self.columns for row in column.rows if row.loss == loss)
        variants = dict.fromkeys(row.variant for row in sorted(rows, key=_place_of_row))
        return {
            variant: [column.proof_of(loss, variant) for column in self.columns]
            for variant in variants
        }


def load_table(path: Path) -> CompatTable:
    """Return the table that a file keeps.

    Raises:
        UsageError: if the file cannot be read, or holds something else.
    """
    return load_report(path, CompatTable, "a table of compat")


def write_column(path: Path, column: CompatColumn) -> CompatTable:
    """Write a column into the table that a file keeps, and return the table.

    Raises:
        UsageError: if the file holds something else, or cannot be written.
    """
    table = (load_table(path) if path.exists() else CompatTable()).including(column)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(table.to_json())
    return table


@cache
def known_table() -> CompatTable:
    """Return the table that comes with lossbench, with the columns that were found here."""
    files = [folder / COMPAT_FILE for folder in reversed(records_folders())]
    return _joined(load_table(file) for file in files if file.is_file())


def _joined(tables: Iterable[CompatTable]) -> CompatTable:
    joined = CompatTable()
    for column in (column for table in tables for column in table.columns):
        joined = joined.including(column)
    return joined


def _place_of_row(row: CompatRow) -> tuple[Any, ...]:
    losses = [loss.name for loss in impls.losses()]
    place = losses.index(row.loss) if row.loss in losses else len(losses)
    return place, row.loss, place_of_variant(row.variant, row.loss)
