"""``results``: what a run has found."""

from collections.abc import Sequence
from pathlib import Path

import click

from lossbench.bench.cli.options import Folder, losses_option
from lossbench.bench.format import console
from lossbench.bench.report.data import default_runs
from lossbench.bench.run.records import Record, read_records
from lossbench.bench.show.results import results_table, warnings


@click.command()
@click.argument("runs", type=Folder, nargs=-1)
@losses_option
def results(runs: tuple[Path, ...], losses: tuple[str, ...]) -> None:
    """Print the table of RUNS again, by default of the latest one, without measuring."""
    for folder in runs or default_runs():
        records = read_records(folder)
        print_results([r for r in records if not losses or r.case.loss in losses])


def print_results(records: Sequence[Record]) -> None:
    """Print the table of a run, and on the standard error what spoils its times."""
    console().print(results_table(records))
    for warning in warnings(records):
        click.echo(f"warning: {warning}", err=True)
