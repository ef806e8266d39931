"""``run``: measure agreement, memory and times."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lossbench.bench.case.cases import DATA_KINDS, DTYPES
from lossbench.bench.case.presets import PRESETS
from lossbench.bench.cli.kinds import Bytes, EngineName, FiniteRange, Processors
from lossbench.bench.cli.options import (
    budget_option,
    device_option,
    folder_options,
    losses_option,
    machine_option,
    refuse_beside,
    threads_option,
    timeout_option,
    variants_option,
    with_option,
)
from lossbench.bench.cli.results import print_results
from lossbench.bench.errors import UsageError
from lossbench.bench.limits import VARIANT_SECONDS
from lossbench.bench.paths import RUNS, new_folder
from lossbench.bench.ranks.asking import check_ranks, refuse_beside_ranks, threads_of_rank
from lossbench.bench.run.mixture import check_unmixed
from lossbench.bench.run.plan import (
    RunPlan,
    choose_device,
    choose_tasks,
    drop_unregistered,
    read_plan,
    register_planned,
    start_run,
)
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.running import run
from lossbench.bench.show.progress import watching
from lossbench.bench.sweep.engines import (
    ENGINES,
    check_affinity,
    engine_warning,
    open_engine,
    sweep,
)
from lossbench.bench.sweep.orders import SweepEngine
from lossbench.bench.timing.samples import FEWEST_PROCESSES
from lossbench.bench.timing.sampling import HALF_WIDTH


@click.command("run")
@click.option(
    "--preset", type=click.Choice(list(PRESETS)),
    help="Named set of cases. "
    + " ".join(f"{name}: {preset.summary}." for name, preset in PRESETS.items()),
)  # fmt: skip
@losses_option
@variants_option
@click.option("--batch", type=click.IntRange(1), multiple=True, help="Batch size B.")
@click.option("--dim", type=click.IntRange(1), multiple=True, help="Embedding dimension D.")
@click.option("--classes", type=click.IntRange(1), multiple=True, help="Number of classes C.")
@click.option(
    "--dtype", type=click.Choice(list(DTYPES)), multiple=True,
    help="Dtype of inputs and parameters; with --autocast, of the forward.",
)  # fmt: skip
@click.option(
    "--autocast", is_flag=True,
    help="Keep inputs and parameters in float32, and run the forward under autocast to --dtype.",
)  # fmt: skip
@click.option(
    "--data", type=click.Choice(DATA_KINDS), multiple=True,
    help="Inputs: Gaussian noise, noise clustered by class, or scikit-learn's digits.",
)  # fmt: skip
@click.option(
    "--compiled/--eager", default=None,
    help="Include +compile variants, or leave them out; by default as the preset says.",
)  # fmt: skip
@with_option
@device_option
@budget_option(
    "Seconds of sampling per phase (forward, step) of each case; by default the preset's, or "
    "2 without a preset.",
)
@click.option(
    "--half-width", type=FiniteRange(0, 1, min_open=True), default=HALF_WIDTH,
    show_default=True,
    help="Relative half-width of the 95% intervals of all speed-ups at which sampling stops early.",
)  # fmt: skip
@timeout_option(
    "Seconds without an answer after which a variant is given up.",
    default=VARIANT_SECONDS,
)
@threads_option(
    "CPU threads that torch uses; by default one per processor in --affinity, or torch's own "
    "number within the CPU quota.",
)
@click.option(
    "--affinity", type=Processors(), default=(),
    help="Processors to run on, for example 0,2-3; by default all.",
)  # fmt: skip
@click.option(
    "--processes", type=click.IntRange(1),
    help="Number of processes that sample each case; they share the budget. By default "
    f"{FEWEST_PROCESSES}. The interval of fewer leaves out how processes differ, and is marked †.",
)  # fmt: skip
@click.option(
    "--memory", type=Bytes(),
    help="Memory that a worker process may allocate, for example 4GiB; by default most of the free "
    "memory.",
)  # fmt: skip
@click.option(
    "--validate/--no-validate", default=True, show_default=True,
    help="Time the modules as they are built by default, with the checks of their inputs, or "
    "without the checks.",
)  # fmt: skip
@click.option(
    "--graphs", is_flag=True,
    help="On CUDA, time the step replayed as a CUDA graph too, which has no launches by the CPU.",
)  # fmt: skip
@click.option(
    "--ranks", type=click.IntRange(2),
    help="Compute each loss in this many processes together, with an equal part of the batch each: "
    "the sharded variants beside the others. Times are those of the slowest rank, memory and "
    "traffic those of a rank.",
)  # fmt: skip
@machine_option
@folder_options(
    "Folder of the new run; by default results/runs/ and the time.",
    "Folder of a stopped run to go on with, in the setting that it was started in; takes no other "
    "option but --mixed, or --on for another engine.",
)
@click.option(
    "--on", type=EngineName(), default="", metavar="ENGINE",
    help="Measure on the workers of an engine, each of which takes one case at a time: "
    f"{ENGINES}. By default on this machine alone.",
)  # fmt: skip
@click.option(
    "--mixed", is_flag=True,
    help="Go on with --resume although the code, the software or the machine has changed; the "
    "results are marked as a mixture.",
)  # fmt: skip
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
    validate: bool,
    graphs: bool,
    ranks: int | None,
    machine: str,
    out: Path | None,
    on: str,
    resume: Path | None,
    mixed: bool,
    **sizes: Any,
) -> None:
    """Measure each variant: agreement with float64, memory, and times relative to the reference.

    A case is a loss at one size, dtype and kind of data. The options for these can be given several
    times; all combinations are measured. Without them the preset `quick` is measured. With some of
    them but no preset, the others are batch 64, dim 128, 10 classes, float32 and Gaussian noise.
    With a preset, sizes choose among its sizes; a dtype or kind of data replaces its own.
    `lossbench results --help` explains the columns of the printed table.
    """
    if resume is not None:
        refuse_beside("resume", "mixed", "on")
        plan = _plan_left(resume, on, mixed=mixed)
    else:
        if mixed:
            raise UsageError("--mixed goes on with a stopped run; give its folder with --resume")
        if affinity and on:
            check_affinity(on)
        given = {axis: values for axis, values in sizes.items() if values}
        where = choose_device(device)
        if graphs and where != "cuda":
            raise UsageError(f"--graphs replays CUDA graphs: expected --device cuda, got {where}")
        chosen = preset or (None if given else "quick")
        if ranks:
            refuse_beside_ranks(compiled=compiled, graphs=graphs, on=on)
            losses = check_ranks(ranks, losses, where)
            compiled = False
        # The workers may have a GPU, although this machine has none.
        where = device if device == "cuda" and on else choose_device(device)
        plan = RunPlan(
            tasks=choose_tasks(chosen, losses, variants, where, given, compiled, ranks or 1),
            budget_seconds=budget or (PRESETS[chosen].budget_seconds if chosen else 2.0),
            timeout_seconds=timeout,
            half_width=half_width,
            threads=threads or (0 if on else threads_of_rank(ranks or 1, affinity)),
            machine=machine,
            affinity=affinity,
            memory_bytes=memory,
            validate=validate,
            graphs=graphs,
            processes=processes or (PRESETS[chosen].processes if chosen else FEWEST_PROCESSES),
            engine=on,
        )
    warning = engine_warning(plan)
    if warning:
        click.echo(f"warning: {warning}", err=True)
    with open_engine(plan) as workers:
        # An engine that is not there leaves no folder behind.
        folder = resume or out or new_folder(RUNS)
        if resume is None:
            start_run(folder, plan)
        run_shown(folder, plan, workers)
    print_results(read_records(folder))
    click.echo(f"records: {folder}/records.jsonl", err=True)


def _plan_left(folder: Path, engine: str, *, mixed: bool) -> RunPlan:
    """Return the part of a stopped run's plan that can still be measured.

    Args:
        folder: folder of the run.
        engine: engine to go on with; empty for that of the plan.
        mixed: whether the setting may have changed.
    """
    planned = read_plan(folder)
    planned = replace(planned, engine=engine or planned.engine)
    if not mixed:
        check_unmixed(folder, planned)
    register_planned(planned)
    plan, skipped = drop_unregistered(planned)
    for line in skipped:
        click.echo(line, err=True)
    return plan


def run_shown(folder: Path, plan: RunPlan, engine: SweepEngine | None = None) -> None:
    """Run with a progress display; if the run is stopped, print how to resume it.

    Args:
        folder: folder of the run.
        plan: plan of the run.
        engine: engine to measure on; by default on this machine.
    """
    try:
        with watching(plan, folder) as watcher:
            if engine is None:
                run(folder, plan, watcher)
            else:
                sweep(folder, plan, engine, watcher)
    except KeyboardInterrupt:
        click.echo(f"stopped; to resume: lossbench run --resume {folder}", err=True)
        raise
