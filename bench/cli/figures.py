"""What commands write: a file that is asked for, and the figures of what they put on trial."""

import os
from pathlib import Path
from typing import NoReturn

import click
from rich.console import RenderableType

from lossbench.bench.errors import UsageError, writing
from lossbench.bench.format import console, plain_text
from lossbench.bench.paths import SELFTESTS
from lossbench.bench.promises import Judged

out_option = click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=SELFTESTS,
    help="Where to put the machine's folder; by default results/selftest.",
)  # fmt: skip


def check_file(file: Path) -> None:
    """Refuse a file that cannot be written, before minutes are spent on what it is to hold.

    Raises:
        UsageError: where it cannot.
    """
    if not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        raise UsageError(f"{file}: expected a file that can be written, in a folder that there is")


def make_folder(folder: Path) -> None:
    """Make a folder, likewise beforehand.

    Raises:
        UsageError: where it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def finish(report: Judged, shown: RenderableType, out: Path, name: str) -> NoReturn:
    """End a command: write what was found as JSON and as it is shown, show it, and exit.

    Args:
        report: what was found.
        shown: the same as tables.
        out: the folder that has one of each machine.
        name: of both files.

    Raises:
        UsageError: where they cannot be written.
    """
    folder = out / report.environment.machine
    make_folder(folder)
    figures = folder / f"{name}.json"
    part = figures.with_suffix(".json.part")
    with writing(folder):
        figures.with_suffix(".txt").write_text(plain_text(shown))
        part.write_text(report.to_json())
        os.replace(part, figures)
    console().print(shown)
    for warning in report.environment.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"figures: {figures}", err=True)
    click.get_current_context().exit(report.exit_code)
