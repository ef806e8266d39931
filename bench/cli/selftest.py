"""``selftest``: the harness on trial."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.cli.options import device_option
from bench.cli.run import RUNS
from bench.environment import ROOT
from bench.errors import UsageError
from bench.plan import choose_device
from bench.selftest import Plan, Tell, run_selftest
from bench.selftest.report import FEWEST_TRIALS, ReportFile
from bench.selftest.tables import report_table, report_text
from bench.table import console

FOLDER = ROOT / "results" / "selftest"
QUICK_TRIALS, QUICK_PAIRS = 2, 1


@click.command()
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=FEWEST_TRIALS,
    show_default=True,
    help="Of each share that is judged.",
)
@click.option(
    "--gate-pairs",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="For asv and pytest-benchmark.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    help="Seconds to sample a trial, in each of its processes.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="That each trial samples in, one after the other.",
)
@click.option("--quick", is_flag=True, help="A few trials, to see that it works.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--machine", default="", help="The name this machine goes by.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to put the machine's folder; by default results/selftest, if quick results/runs.",
)
@device_option
@click.pass_context
def selftest(
    context: click.Context,
    trials: int,
    gate_pairs: int,
    budget: float,
    processes: int,
    quick: bool,
    threads: int | None,
    machine: str,
    out: Path | None,
    device: str,
) -> None:
    """Put the harness on trial: false alarms, planted slowdowns, load, cheaters, memory.

    The exit code is 1 where a promise fails. A share of fewer than 60 trials is not judged.
    """
    plan = Plan(
        trials=min(trials, QUICK_TRIALS) if quick else trials,
        gate_pairs=min(gate_pairs, QUICK_PAIRS) if quick else gate_pairs,
        budget_seconds=budget,
        threads=threads or torch.get_num_threads(),
        device=choose_device(device),
        processes=processes,
        machine=machine,
    )
    # A quick one must not take the place of a whole one's figures.
    place = out or (RUNS / "selftest" if quick else FOLDER)
    _make(place)
    try:
        with _telling(plan.parts) as tell:
            report = run_selftest(plan, tell)
    except KeyboardInterrupt:
        click.echo("stopped; a part of the figures tells nothing, so none are written", err=True)
        raise
    folder = place / report.environment.machine
    figures = ReportFile(report).model_dump_json(indent=1)
    write_figures(folder, "selftest", report_text(report), figures)
    console().print(report_table(report))
    for warning in report.environment.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"figures: {folder}/selftest.json", err=True)
    context.exit(report.exit_code)


def write_figures(folder: Path, name: str, text: str, figures: str) -> None:
    """Write a whole report as text and as JSON, in place of an earlier one.

    Raises:
        UsageError: where the folder cannot be made.
    """
    _make(folder)
    (folder / f"{name}.txt").write_text(text)
    part = folder / f"{name}.json.part"
    part.write_text(figures + "\n")
    os.replace(part, folder / f"{name}.json")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; expected a folder to write to") from error


@contextmanager
def _telling(parts: int) -> Iterator[Tell]:
    """Show what goes on, a bar on a terminal, lines elsewhere."""
    out = console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("starting", total=parts)
        begun = iter(range(1, parts + 1))

        def tell(text: str) -> None:
            number = next(begun)
            progress.update(task, description=text, completed=number - 1)
            if not out.is_terminal:
                out.print(f"[{number}/{parts}] {text}", markup=False, soft_wrap=True)

        yield tell
