"""``results``: what a run has found."""

from collections.abc import Sequence
from pathlib import Path

import click

from lossbench.bench.cli.options import Folder, with_option
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console
from lossbench.bench.report.data import default_runs
from lossbench.bench.run.order import is_registered
from lossbench.bench.run.records import Record, read_records
from lossbench.bench.show.results import results_table, warnings


@click.command()
@with_option
@click.argument("runs", type=Folder, nargs=-1)
@click.option("--loss", "losses", multiple=True, help="Show this loss only; repeatable.")
def results(runs: tuple[Path, ...], losses: tuple[str, ...]) -> None:
    """Print the table of RUNS again, by default of the latest one, without measuring."""
    found = [read_records(folder) for folder in runs or default_runs()]
    # Beside the registry's, losses that are no longer registered can be asked for.
    there = dict.fromkeys(record.case.loss for records in found for record in records)
    unknown = [name for name in losses if name not in there and not is_registered(name)]
    if unknown:
        raise UsageError(f"no record of {unknown[0]!r}; there are some of: {', '.join(there)}")
    for records in found:
        print_results([r for r in records if not losses or r.case.loss in losses])


def print_results(records: Sequence[Record]) -> None:
    """Print the table of a run, and on the standard error what spoils its times."""
    console().print(results_table(records))
    for warning in warnings(records):
        click.echo(f"warning: {warning}", err=True)
