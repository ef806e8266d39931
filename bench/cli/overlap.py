"""``overlap``: whether two runs tell the same."""

from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from bench.cli.options import Folder
from bench.errors import UsageError
from bench.overlap import pair_cells
from bench.records import read_records
from bench.table import console, spread


@click.command()
@click.argument("first", type=Folder)
@click.argument("second", type=Folder)
def overlap(first: Path, second: Path) -> None:
    """Hold two runs of the same cells, FIRST and SECOND, against each other.

    Shown are the cells whose intervals have nothing in common, and the share of those that have.
    """
    pairs = list(pair_cells(read_records(first), read_records(second)))
    if not pairs:
        raise UsageError(f"{first} and {second} share no cell that was timed in both")
    apart = [pair for pair in pairs if not pair.overlaps]
    out = console()
    if apart:
        table = Table("case", "variant", str(first), str(second), box=None, pad_edge=False)
        for pair in apart:
            case = pair.record.case
            cell = (Text(f"{case.loss} {case}"), Text(pair.record.variant))
            table.add_row(*cell, spread(pair.first), spread(pair.second))
        out.print(table)
    share = 1 - len(apart) / len(pairs)
    out.print(
        f"the intervals of {len(pairs) - len(apart)} of {len(pairs)} cells overlap: {share:.1%}"
    )
