"""``results``: print the table of a run again."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from lossbench.bench.cli.kinds import Folder
from lossbench.bench.cli.options import with_option
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console, narrow_width
from lossbench.bench.frame import tidy
from lossbench.bench.frame.plain import plain_rows
from lossbench.bench.frame.runs import find, record_row
from lossbench.bench.report.data import default_runs
from lossbench.bench.report.legend import COLUMNS
from lossbench.bench.run.reading import each_record, read_records
from lossbench.bench.run.records import RECORDS, Record
from lossbench.bench.show.results import results_table, warnings


@click.command(epilog="\n\n".join(f"{name}: {meaning}." for name, meaning in COLUMNS.items()))
@with_option
@click.argument("runs", type=Folder, nargs=-1)
@click.option("--loss", "losses", multiple=True, help="Loss to print; can be given several times.")
@form_options
def results(runs: tuple[Path, ...], losses: tuple[str, ...]) -> None:
    """Print the tables of RUNS without measuring; by default the table of the latest run.

    The columns of the table are explained below. A narrow terminal shows the most important ones.
    """
    found = {folder: records_in(folder) for folder in runs or (latest_run(),)}
    _check_losses(losses, found.values())
    chosen = {
        folder: [r for r in records if not losses or r.case.loss in losses]
        for folder, records in found.items()
    }
    if asked_form():
        rows = (
            {"run": str(folder), **record_row(record)}
            for folder, records in chosen.items()
            for record in records
        )
        print_rows(plain_rows(tidy(rows)))
        return
    for folder, records in chosen.items():
        if len(chosen) > 1 or not runs:
            click.echo(f"{folder}:")
        print_results(records)


def latest_run() -> Path:
    """Return the folder of the latest run that was measured here, or else of those shipped.

    Raises:
        UsageError: if there is none.
    """
    # A checkout does not keep the times of files, so the records' own times are compared.
    return max(default_runs(), key=lambda run: next((r.made for r in each_record(run)), ""))


def records_in(folder: Path) -> list[Record]:
    """Return the records of a run's folder.

    Raises:
        UsageError: if the folder has none; the message names the runs below it.
    """
    if not (folder / RECORDS).exists():
        below = ", ".join(str(run) for run in find(folder))
        hint = f"the runs below it are: {below}" if below else "`lossbench run` makes one"
        raise UsageError(f"{folder}: expected the folder of a run, found no {RECORDS}; {hint}")
    records = read_records(folder)
    if not records:
        raise UsageError(f"{folder}: the run has no record yet")
    return records


def _check_losses(losses: Iterable[str], found: Iterable[Sequence[Record]]) -> None:
    """Refuse a loss that is not in the records."""
    there = dict.fromkeys(record.case.loss for records in found for record in records)
    for name in losses:
        if name not in there:
            raise UsageError(f"no record of {name!r}; there are records of: {', '.join(there)}")


def print_results(records: Sequence[Record]) -> None:
    """Print the table of a run, and on standard error warnings about its times."""
    console().print(results_table(records, narrow_width()))
    for warning in warnings(records):
        click.echo(f"warning: {warning}", err=True)
