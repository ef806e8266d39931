"""``first-light``: test, check and measure on a machine with a GPU, by one command."""

from pathlib import Path

import click
import torch

from lossbench.bench.cli.kinds import FiniteRange, Folder
from lossbench.bench.cli.options import folder_options, machine_option, refuse_beside
from lossbench.bench.errors import UsageError
from lossbench.bench.first_light.folder import begin, pack
from lossbench.bench.first_light.progress import read_progress
from lossbench.bench.first_light.session import run_steps
from lossbench.bench.first_light.steps import MINUTES, LightStep, limit_seconds, steps
from lossbench.bench.first_light.summary import write_summary
from lossbench.bench.format import console, duration
from lossbench.bench.paths import RUNS, check_checkout, new_folder
from lossbench.bench.show.predictions import predictions_table


@click.command("first-light")
@click.option(
    "--minutes", type=FiniteRange(1), default=MINUTES, show_default=True,
    help="Minutes for all steps together; what they leave undone, --resume goes on with.",
)  # fmt: skip
@click.option(
    "--wheels", type=Folder,
    help="Folder of wheels to install beside it and import, on a machine without a registry.",
)  # fmt: skip
@machine_option
@folder_options(
    "Folder to write to; by default results/runs/first-light- and the time.",
    "Folder of a first light: run the steps that have not passed.",
)
@click.option(
    "--dry-run", is_flag=True,
    help="List the steps with their times, and the cases of the preset cuda with their predicted "
    "limits; needs no GPU.",
)  # fmt: skip
def first_light(
    minutes: float,
    wheels: Path | None,  # noqa: ARG001 - installed before this module is imported
    machine: str,
    out: Path | None,
    resume: Path | None,
    dry_run: bool,
) -> None:
    """Run the CUDA tests, the self-test and the presets quick and cuda on this machine's GPU.

    Each step is a process with a limit of time, and leaves a log in one folder, with the records,
    a summary of one page, and all of it packed in one file. The exit code is 0 if all steps passed,
    1 if one failed or ran out of time, 2 without a GPU.
    """
    check_checkout("first-light")
    if dry_run:
        _list(minutes)
        return
    _check_gpu()
    if resume is not None:
        refuse_beside("resume", "minutes", "wheels", "machine")
        read_progress(resume)
        folder = resume.absolute()
    else:
        folder = (out or new_folder(RUNS, "first-light-")).absolute()
        begin(folder)
    planned = steps(folder, machine)
    try:
        results = run_steps(folder, planned, minutes, _tell)
    finally:
        summary = write_summary(folder, planned)
        click.echo(f"summary: {summary}\nall of it: {pack(folder)}", err=True)
        click.echo(f"to go on: lossbench first-light --resume {folder}", err=True)
    click.echo(summary.read_text())
    passed = all(result.status == "passed" for result in results.values())
    click.get_current_context().exit(0 if passed else 1)


def _check_gpu() -> None:
    if not torch.cuda.is_available():
        raise UsageError(
            f"first-light needs a GPU: torch {torch.__version__} finds no CUDA device here; "
            "--dry-run lists its steps"
        )


def _tell(step: LightStep, limit: float) -> None:
    click.echo(f"{step.name}: {step.summary}, within {duration(limit)}", err=True)


def _list(minutes: float) -> None:
    """Print the steps with their limits, if each takes all of its time, and the cases."""
    planned, left = steps(Path("FOLDER")), 60 * minutes
    for index, step in enumerate(planned):
        limit = limit_seconds(left, planned[index:])
        left -= limit
        click.echo(f"{step.name:<10}{duration(limit):>8}  {step.summary}")
        click.echo(f"{'':<20}python {' '.join(step.arguments)}")
    console().print(predictions_table("cuda"))
