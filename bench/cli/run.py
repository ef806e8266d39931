"""``run``: measure."""

from pathlib import Path
from typing import Any

import click

from lossbench.bench.case.cases import DATA_KINDS, DTYPES
from lossbench.bench.case.presets import PRESETS
from lossbench.bench.cli.options import (
    Bytes,
    Folder,
    Name,
    Processors,
    device_option,
    losses_option,
    refuse_beside,
    variants_option,
    with_option,
)
from lossbench.bench.cli.results import print_results
from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.paths import RUNS, new_folder
from lossbench.bench.run.plan import (
    RunPlan,
    choose_device,
    choose_tasks,
    drop_unregistered,
    read_plan,
    register_planned,
    start_run,
)
from lossbench.bench.run.records import read_records
from lossbench.bench.run.session import run
from lossbench.bench.show.progress import watching
from lossbench.bench.timing.sampling import HALF_WIDTH


@click.command("run")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="A named set of cases.")
@losses_option
@variants_option
@click.option("--batch", type=click.IntRange(1), multiple=True, help="Samples, B.")
@click.option("--dim", type=click.IntRange(1), multiple=True, help="Embedding size, D.")
@click.option("--classes", type=click.IntRange(1), multiple=True, help="Classes, C.")
@click.option("--dtype", type=click.Choice(list(DTYPES)), multiple=True)
@click.option("--autocast", is_flag=True, help="Hold float32, and run under autocast to --dtype.")
@click.option("--data", type=click.Choice(DATA_KINDS), multiple=True)
@click.option("--compiled/--eager", default=None, help="Measure +compile variants too, or none.")
@with_option
@device_option
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), help="Seconds to sample a phase of a case."
)
@click.option(
    "--half-width", type=click.FloatRange(0, 1, min_open=True), default=HALF_WIDTH,
    show_default=True, help="Of the speed-ups' intervals, relative: narrow enough to stop earlier.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(1), default=VARIANT_SECONDS, help="Seconds for one variant."
)
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option(
    "--affinity", type=Processors(), default=(), help="Processors to run on, as in 0,2-3."
)
@click.option("--processes", type=click.IntRange(1), help="Fresh processes that sample each case.")
@click.option(
    "--memory", type=Bytes(), help="What a worker may allocate, as in 4GiB; most of what is free."
)
@click.option(
    "--machine", type=Name(), default="", help="The name this machine goes by in the records."
)
@click.option("--out", type=Folder, help="Folder of the run.")
@click.option("--resume", type=Folder, help="A run's folder.")
def run_cases(
    preset: str | None,
    losses: tuple[str, ...],
    variants: tuple[str, ...],
    compiled: bool | None,
    device: str,
    budget: float | None,
    half_width: float,
    timeout: float,
    threads: int | None,
    affinity: tuple[int, ...],
    processes: int | None,
    memory: int | None,
    machine: str,
    out: Path | None,
    resume: Path | None,
    **sizes: Any,
) -> None:
    """Measure losses: agreement, memory, and times against the reference.

    Options that name values can be given several times. Without a size the preset `quick` is
    measured; with one, a case of 64x128 and 10 classes, changed by what is given.
    """
    if resume is not None:
        refuse_beside("resume")
        planned = read_plan(resume)
        register_planned(planned)
        folder, (plan, skipped) = resume, drop_unregistered(planned)
        for line in skipped:
            click.echo(line, err=True)
    else:
        given = {axis: values for axis, values in sizes.items() if values}
        chosen = preset or (None if given else "quick")
        plan = RunPlan(
            tasks=choose_tasks(chosen, losses, variants, choose_device(device), given, compiled),
            budget_seconds=budget or (PRESETS[chosen].budget_seconds if chosen else 2.0),
            timeout_seconds=timeout,
            half_width=half_width,
            threads=threads or len(affinity) or default_threads(),
            machine=machine,
            affinity=affinity,
            memory_bytes=memory,
            processes=processes or (PRESETS[chosen].processes if chosen else 1),
        )
        folder = out or new_folder(RUNS)
        start_run(folder, plan)
    run_shown(folder, plan)
    print_results(read_records(folder))
    click.echo(f"records: {folder}/records.jsonl", err=True)


def run_shown(folder: Path, plan: RunPlan) -> None:
    """Show a run while it goes on, and say how to resume it where it is stopped."""
    try:
        with watching(plan, folder) as watcher:
            run(folder, plan, watcher)
    except KeyboardInterrupt:
        click.echo(f"stopped; to go on: lossbench run --resume {folder}", err=True)
        raise
