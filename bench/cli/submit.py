"""``submit``: bundle a run for a public board."""

from pathlib import Path

import click

from lossbench.bench.cli.kinds import Folder, Name
from lossbench.bench.errors import UsageError
from lossbench.bench.format import folded, narrow_width
from lossbench.bench.printable import printable
from lossbench.bench.run.reading import each_record
from lossbench.bench.submit.bundle import LONGEST_NAME, SUFFIX, Bundle, is_bundle, write_bundle
from lossbench.bench.submit.checks import check_bundle
from lossbench.bench.submit.summary import bundle_lines, bundle_notes


@click.command()
@click.argument("run", type=Folder)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False),
    help=f"File to write, named *{SUFFIX}; by default the name of the run's folder and {SUFFIX}.",
)  # fmt: skip
@click.option(
    "--by", type=Name(), default="",
    help="Name to show on the board as who measured; by default the machine's name in the records.",
)  # fmt: skip
def submit(run: Path, out: Path | None, by: str) -> None:
    """Bundle RUN, the folder of a run, for a public board: its records, plan and checksums.

    The bundle is checked as `lossbench verify --no-measure` does. The exit code is 1 if it would be
    refused, and 0 otherwise.
    """
    file = out or Path(f"{run.resolve().name}{SUFFIX}")
    if not is_bundle(file):
        raise UsageError(f"{file}: expected a file named *{SUFFIX}")
    bundle = write_bundle(run, file, checked_name(by or machine_of(run)))
    refusals = check_bundle(bundle)
    if refusals:
        file.unlink()
        for refusal in refusals:
            click.echo(f"refused: {refusal}")
        click.get_current_context().exit(1)
    print_bundle(bundle)
    click.echo(f"bundle: {file}", err=True)


def print_bundle(bundle: Bundle) -> None:
    """Print what a bundle holds, and what a reader should know about it."""
    for line in (*bundle_lines(bundle), *(f"note: {note}" for note in bundle_notes(bundle))):
        click.echo(folded(line, narrow_width()))


def checked_name(by: str) -> str:
    """Return the name of who measured.

    Raises:
        UsageError: if it is too long, or cannot be printed in one line.
    """
    if by != printable(by, LONGEST_NAME):
        raise UsageError(
            f"--by: expected a printable name of at most {LONGEST_NAME} characters, got {by!a}"
        )
    return by


def machine_of(run: Path) -> str:
    """Return the name of the machine of a run's first Record; empty without one.

    Raises:
        UsageError: if the run cannot be read.
    """
    first = next(each_record(run), None)
    return printable(first.environment.machine, LONGEST_NAME) if first else ""
