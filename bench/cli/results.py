"""``results``: print the table of a run again."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from lossbench.bench.cli.options import Folder, with_option
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console
from lossbench.bench.frame import tidy
from lossbench.bench.frame.plain import plain_rows
from lossbench.bench.frame.runs import record_row
from lossbench.bench.report.data import default_runs
from lossbench.bench.report.legend import COLUMNS
from lossbench.bench.run.order import is_registered
from lossbench.bench.run.records import Record, read_records
from lossbench.bench.show.results import results_table, warnings


@click.command(epilog="\n\n".join(f"{name}: {meaning}." for name, meaning in COLUMNS.items()))
@with_option
@click.argument("runs", type=Folder, nargs=-1)
@click.option("--loss", "losses", multiple=True, help="Loss to print; can be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure of every record as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every figure of every record as CSV.")
def results(
    runs: tuple[Path, ...], losses: tuple[str, ...], *, as_json: bool, as_csv: bool
) -> None:
    """Print the tables of RUNS without measuring; by default the table of the latest run.

    The columns of the table are explained below.
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv print the same figures: give one, not both")
    found = {folder: read_records(folder) for folder in runs or default_runs()}
    _check_losses(losses, found.values())
    chosen = {
        folder: [r for r in records if not losses or r.case.loss in losses]
        for folder, records in found.items()
    }
    if not (as_json or as_csv):
        for folder, records in chosen.items():
            if len(chosen) > 1:
                click.echo(f"{folder}:")
            print_results(records)
        return
    frame = tidy(
        {"run": str(folder), **record_row(record)}
        for folder, records in chosen.items()
        for record in records
    )
    if as_csv:
        click.echo(frame.to_csv(index=False), nl=False)
    else:
        click.echo(json.dumps(plain_rows(frame), indent=1))


def _check_losses(losses: Iterable[str], found: Iterable[Sequence[Record]]) -> None:
    """Refuse a loss that is neither in the records nor in the registry."""
    there = dict.fromkeys(record.case.loss for records in found for record in records)
    for name in losses:
        if name not in there and not is_registered(name):
            raise UsageError(f"no record of {name!r}; there are records of: {', '.join(there)}")


def print_results(records: Sequence[Record]) -> None:
    """Print the table of a run, and on standard error warnings about its times."""
    console().print(results_table(records))
    for warning in warnings(records):
        click.echo(f"warning: {warning}", err=True)
