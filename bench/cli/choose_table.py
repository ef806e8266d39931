"""``choose-table``: the recommendations that production takes, from records."""

from pathlib import Path

import click

from lossbench.bench.choose.shipped import SHIPPED, table_text
from lossbench.bench.cli.choose import load_runs, records_option
from lossbench.bench.cli.figures import check_file
from lossbench.bench.errors import writing


@click.command("choose-table")
@records_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=SHIPPED, show_default=True
)
def choose_table(runs: tuple[Path, ...], out: Path) -> None:
    """Write the table that `impls.build(..., variant="auto")` takes, to be reviewed and shipped."""
    check_file(out)
    text = table_text(load_runs(runs))
    with writing(out):
        out.write_text(text)
    click.echo(f"written: {out}", err=True)
