"""``results``: what a run has found."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from lossbench.bench.cli.options import LOSSES, Folder
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console
from lossbench.bench.frame import tidy
from lossbench.bench.frame.plain import plain_rows
from lossbench.bench.frame.runs import record_row
from lossbench.bench.run.records import Record, read_records
from lossbench.bench.show.results import results_table, warnings


@click.command()
@click.argument("runs", type=Folder, nargs=-1, required=True)
@click.option("--loss", "losses", type=click.Choice(LOSSES), multiple=True)
@click.option("--json", "as_json", is_flag=True, help="Print every figure of every record as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print every figure of every record as CSV.")
def results(
    runs: tuple[Path, ...], losses: tuple[str, ...], *, as_json: bool, as_csv: bool
) -> None:
    """Show the table of RUNS again, without measuring."""
    if as_json and as_csv:
        raise UsageError("--json and --csv print the same figures: give one of them")
    found = {folder: _chosen(folder, losses) for folder in runs}
    if not (as_json or as_csv):
        for records in found.values():
            print_results(records)
        return
    frame = tidy(
        {"run": str(folder), **record_row(record)}
        for folder, records in found.items()
        for record in records
    )
    if as_csv:
        click.echo(frame.to_csv(index=False), nl=False)
    else:
        click.echo(json.dumps(plain_rows(frame), indent=1))


def _chosen(folder: Path, losses: tuple[str, ...]) -> list[Record]:
    return [r for r in read_records(folder) if not losses or r.case.loss in losses]


def print_results(records: Sequence[Record]) -> None:
    """Print the table of a run, and on the standard error what spoils its times."""
    console().print(results_table(records))
    for warning in warnings(records):
        click.echo(f"warning: {warning}", err=True)
