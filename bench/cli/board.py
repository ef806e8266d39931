"""``board``: make a public board of runs and bundles."""

from pathlib import Path

import click

from lossbench.bench.board.rows import standings_of
from lossbench.bench.board.sources import load_board
from lossbench.bench.board.write import write_board


@click.command()
@click.argument(
    "sources", metavar="RESULTS...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the site to.",
)  # fmt: skip
def board(sources: tuple[Path, ...], out: Path) -> None:
    """Make a static site of RESULTS: the recommended variant of each loss, size and machine.

    RESULTS are folders of `run`, bundles of `submit`, and folders that contain either. The records
    are merged, and the variants recommended, as `choose` does. The site needs no network: open its
    index.html from the disk, or serve the folder.
    """
    found = load_board(sources)
    for reason in found.left_out:
        click.echo(f"warning: left out: {reason}", err=True)
    standings = standings_of(found)
    index = write_board(standings, out)
    click.echo(
        f"{index}: {len(standings.rows)} sizes of {len(standings.losses)} losses, "
        f"from {len(found.records)} records"
    )
