"""``results``: what a run has found."""

from collections.abc import Sequence
from pathlib import Path

import click

from bench.cli.options import LOSSES, Folder
from bench.records import Record, read_records
from bench.results_table import results_table, warnings
from bench.table import console


@click.command()
@click.argument("runs", type=Folder, nargs=-1, required=True)
@click.option("--loss", "losses", type=click.Choice(LOSSES), multiple=True)
def results(runs: tuple[Path, ...], losses: tuple[str, ...]) -> None:
    """Show the table of RUNS again, without measuring."""
    for folder in runs:
        records = read_records(folder)
        print_results([r for r in records if not losses or r.case.loss in losses])


def print_results(records: Sequence[Record]) -> None:
    """Print the table of a run, and on the standard error what spoils its times."""
    console().print(results_table(records))
    for warning in warnings(records):
        click.echo(f"warning: {warning}", err=True)
