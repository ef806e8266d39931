"""The commands, their options, and what they say when something is wrong."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import torch
from rich.text import Text

import impls
from bench.cases import DATA_KINDS, DTYPES, PRESETS
from bench.conformance import Conformance, measure_conformance
from bench.environment import ROOT
from bench.errors import UsageError
from bench.plan import Plan, choose_device, choose_tasks, read_plan, start_run
from bench.progress import watching
from bench.records import read_records
from bench.run import run
from bench.table import (
    conformance_table,
    console,
    losses_table,
    results_table,
    support_table,
)
from bench.worker import Lost, Worker

RUNS = ROOT / "results" / "runs"
LOSSES = [loss.name for loss in impls.losses()]
VARIANTS = sorted({i.variant for name in LOSSES for i in impls.implementations(name)})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 for what the user can mend, 130 for Ctrl-C."""
    try:
        commands.main(arguments, prog_name="python -m bench", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except UsageError as error:
        click.echo(f"error: {error}", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader has gone; what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Compare implementations of loss functions: which one should I ship?"""


@commands.command("list")
def list_losses() -> None:
    """Show every loss and its variants."""
    console().print(losses_table())


@commands.command()
@click.argument("loss", type=click.Choice(LOSSES))
def show(loss: str) -> None:
    """Show a loss: formula, document, paper, departures, and what runs here."""
    entry, out = impls.loss(loss), console()
    out.print(f"[bold]{entry.name}[/]: {entry.summary}", highlight=False)
    out.print(f"  {entry.formula}\n", markup=False, highlight=False)
    out.print(f"document   {entry.document}", markup=False, highlight=False)
    out.print(f"paper      {entry.paper or '-'}", markup=False, highlight=False)
    arguments = ", ".join(str(p).replace("'", "") for p in entry.arguments.values())
    out.print(f"arguments  {arguments or '-'}", markup=False, highlight=False)
    out.print(f"inputs     {', '.join(entry.input_names)}", markup=False, highlight=False)
    fields = ", ".join(getattr(entry.output, "_fields", ()))
    out.print(f"outputs    {fields}\n", markup=False, highlight=False)
    out.print("departures", *(f"  - {d}" for d in entry.departures), "", sep="\n", markup=False)
    out.print(support_table(loss, ("cpu", "cuda")))


@commands.command()
@click.argument("losses", type=click.Choice(LOSSES), nargs=-1)
@click.option("--compiled", is_flag=True, help="+compile variants too, which takes long.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
def conformance(losses: tuple[str, ...], compiled: bool, device: str) -> None:
    """Show what every implementation of LOSSES does with degenerate inputs, beside the reference.

    `better` has a finite value where the reference has none, or is far nearer to the truth;
    `worse` has none where the reference has one, or is further off than an ordinary error.
    """
    where, out = choose_device(device), console()
    worker = Worker(torch.get_num_threads())
    try:
        for loss in losses or LOSSES:
            found: dict[str, Sequence[Conformance] | str] = {}
            for implementation in impls.implementations(loss):
                supported = implementation.unsupported(where, torch.float32) is None
                if supported and (compiled or not implementation.mode):
                    found[implementation.variant] = ask_conformance(worker, implementation, where)
            out.print(Text(loss, "bold"), conformance_table(found))
            for variant, reason in found.items():
                if isinstance(reason, str):
                    out.print(Text(f"  {variant}: {reason}", "dim"))
    finally:
        worker.close()


def ask_conformance(
    worker: Worker, implementation: impls.Implementation, device: str
) -> Sequence[Conformance] | str:
    """Return what an implementation does with degenerate inputs, or why that is not known."""
    if implementation.departs:
        return f"departs: {implementation.departs}"
    try:
        return worker.ask(
            600, measure_conformance, implementation.loss.name, implementation.variant, device
        )
    except Lost as lost:
        return f"{lost.status}: {lost}"


@commands.command("run")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="A named set of cases.")
@click.option("--loss", "losses", type=click.Choice(LOSSES), multiple=True)
@click.option("--variant", "variants", type=click.Choice(VARIANTS), multiple=True)
@click.option("--batch", type=click.IntRange(1), multiple=True, help="Samples, B.")
@click.option("--dim", type=click.IntRange(1), multiple=True, help="Embedding size, D.")
@click.option("--classes", type=click.IntRange(1), multiple=True, help="Classes, C.")
@click.option("--dtype", type=click.Choice(list(DTYPES)), multiple=True)
@click.option("--data", type=click.Choice(DATA_KINDS), multiple=True)
@click.option("--compiled/--eager", default=None, help="Measure +compile variants too, or none.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), help="Seconds to sample a phase of a case."
)
@click.option("--timeout", type=click.FloatRange(1), default=300, help="Seconds for one variant.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--machine", default="", help="The name this machine goes by in the records.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run.")
@click.option("--resume", type=click.Path(path_type=Path, file_okay=False), help="A run's folder.")
def run_cases(
    preset: str | None,
    losses: tuple[str, ...],
    variants: tuple[str, ...],
    compiled: bool | None,
    device: str,
    budget: float | None,
    timeout: float,
    threads: int | None,
    machine: str,
    out: Path | None,
    resume: Path | None,
    **sizes: tuple[Any, ...],
) -> None:
    """Measure losses: agreement, memory, and times against the reference.

    Options that name values can be given several times. Without a size the preset `quick` is
    measured; with one, a case of 64x128 and 10 classes, changed by what is given.
    """
    if resume is not None:
        folder, plan = resume, read_plan(resume)
    else:
        given = {axis: values for axis, values in sizes.items() if values}
        chosen = preset or (None if given else "quick")
        plan = Plan(
            tasks=choose_tasks(chosen, losses, variants, choose_device(device), given, compiled),
            budget_seconds=budget or (PRESETS[chosen].budget_seconds if chosen else 2.0),
            timeout_seconds=timeout,
            threads=threads or torch.get_num_threads(),
            machine=machine,
        )
        folder = out or RUNS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
        start_run(folder, plan)
    try:
        with watching(plan, folder) as watcher:
            run(folder, plan, watcher)
    except KeyboardInterrupt:
        click.echo(f"stopped; to go on: python -m bench run --resume {folder}", err=True)
        raise
    records = read_records(folder)
    console().print(results_table(records))
    for warning in sorted({record.environment.warning for record in records} - {""}):
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"records: {folder}/records.jsonl", err=True)
