"""Write the files of commands: a report to a given path, and the figures of the self-tests."""

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
    help="Folder to write to, in a subfolder named after the machine; by default results/selftest.",
)  # fmt: skip


def check_file(file: Path) -> None:
    """Check that a file can be written, before minutes are spent on its content.

    Raises:
        UsageError: if it cannot be written.
    """
    if not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        raise UsageError(f"{file}: expected a file that can be written, in an existing folder")


def make_folder(folder: Path) -> None:
    """Make a folder, before minutes are spent on its content.

    Raises:
        UsageError: if it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def finish(report: Judged, shown: RenderableType, out: Path, name: str) -> NoReturn:
    """End a command: write its report as JSON and as text, print it, and exit.

    Args:
        report: report to write as JSON.
        shown: tables of the report, to print and to write as text.
        out: folder that has a subfolder per machine.
        name: name of both files, without suffix.

    Raises:
        UsageError: if a file cannot be written.
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
