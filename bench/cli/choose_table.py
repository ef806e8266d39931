"""``choose-table``: write the table that ``build(..., variant="auto")`` reads."""

from pathlib import Path

import click

from lossbench.bench.choose.shipped import table_text
from lossbench.bench.cli.choose import load_runs, records_option
from lossbench.bench.cli.figures import check_file
from lossbench.bench.errors import writing
from lossbench.bench.paths import RECOMMENDED, check_checkout


@click.command("choose-table")
@records_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; by default impls/recommended.json of the checkout.",
)  # fmt: skip
def choose_table(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write the table of fastest variants that `lossbench.build(..., variant="auto")` reads."""
    if out is None:
        check_checkout("choose-table without --out FILE")
        out = RECOMMENDED
    check_file(out)
    text = table_text(load_runs(runs))
    with writing(out):
        out.write_text(text)
    click.echo(f"written: {out}", err=True)
