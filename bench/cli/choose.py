"""``choose``: choose one implementation of a loss, with reasons."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch

from lossbench.bench.case.cases import DATA_KINDS, DTYPES, Case
from lossbench.bench.choose.answer import answer
from lossbench.bench.choose.measuring import BUDGET, expected_seconds, folder_beside, plan_missing
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import (
    Host,
    choose_pools,
    load_readable,
    load_records,
    pools_of,
)
from lossbench.bench.choose.text import answer_text
from lossbench.bench.cli.kinds import Bytes, FiniteRange, Folder, Name
from lossbench.bench.cli.options import (
    budget_option,
    device_option,
    loss_argument,
    size_options,
    with_option,
)
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console, duration
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.paths import new_folder, records_folders
from lossbench.bench.run.plan import choose_device, start_run
from lossbench.bench.run.records import Record

records_option = click.option(
    "--records", "runs", type=Folder, multiple=True,
    help="Folder of a run, or of several runs, to choose from; can be given several times. By "
    "default results/ and the records that come with lossbench.",
)  # fmt: skip
machine_option = click.option(
    "--machine", type=Name(), default="",
    help="Name of the machine to use records of; by default any machine like this one.",
)  # fmt: skip


@click.command()
@loss_argument
@size_options(batch=256, dim=128, classes=1000)
@with_option
@device_option
@click.option(
    "--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True,
    help="Dtype of inputs and parameters; with --autocast, of the forward.",
)  # fmt: skip
@click.option(
    "--autocast", is_flag=True,
    help="Keep inputs and parameters in float32, and run the forward under autocast to --dtype.",
)  # fmt: skip
@click.option(
    "--data", type=click.Choice(DATA_KINDS), default="gaussian", show_default=True,
    help="Inputs: Gaussian noise, noise clustered by class, or scikit-learn's digits.",
)  # fmt: skip
@click.option(
    "--max-memory", type=Bytes(),
    help="Largest allowed peak memory of a step above inputs and parameters, for example 512MiB.",
)  # fmt: skip
@click.option(
    "--max-error", type=FiniteRange(0, min_open=True),
    help="Largest allowed relative error against float64.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(1),
    help="Number of training steps over which compile time is spread; allows torch.compile.",
)  # fmt: skip
@click.option(
    "--needs", multiple=True, metavar="NAME",
    help="Output that the implementation must compute, for example logits, or situation of a "
    "training loop that it must fit: ddp, autocast, export, checkpointing, double-backward and "
    "more; can be given several times.",
)  # fmt: skip
@click.option(
    "--third-party/--no-third-party", default=False, show_default=True,
    help="Allow packages besides torch, if they are faster.",
)  # fmt: skip
@click.option(
    "--compiled", is_flag=True, help="Allow torch.compile, and measure such variants too."
)
@click.option(
    "--sparse", is_flag=True, help="Allow sparse gradients; your optimizer must take them."
)
@click.option(
    "--allow-worse", "worse", is_flag=True,
    help="Allow variants that are worse than the reference on degenerate inputs.",
)  # fmt: skip
@records_option
@machine_option
@click.option(
    "--measure", is_flag=True,
    help="Measure this size here, if it is not recorded; the expected time is printed first.",
)  # fmt: skip
@budget_option("Seconds of sampling per phase (forward, step) for --measure.", default=BUDGET)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def choose(
    loss: str,
    batch: int,
    dim: int,
    classes: int,
    device: str,
    dtype: str,
    autocast: bool,
    data: str,
    runs: tuple[Path, ...],
    machine: str,
    measure: bool,
    budget: float,
    as_json: bool,
    **constraints: Any,
) -> None:
    """Choose the fastest implementation of LOSS that meets your constraints, with reasons.

    The choice rests on records of a machine like this one, or else of another, which is told. By
    default it is eager, dense and needs torch alone; the faster variants that --compiled, --sparse
    and --third-party would allow stand beside it. At a size without records a fitted model of each
    variant answers. Nothing is measured without --measure.
    """
    # Records of a CUDA machine can be read on a machine without CUDA, but not be made there.
    where = choose_device(device) if measure or device != "cuda" else device
    case = Case(loss, batch, dim, classes, dtype, where, data, autocast=autocast).checked()
    request = Request(case, **constraints)
    here = Host.of(current_environment(), where)
    records = load_runs(runs, loss)
    if measure:
        records += _measure(request, records, machine, here, budget, folder_beside(runs))
    pools = pools_of(records, case)
    if where == "cuda" and not pools:
        _check_cuda_records(case)
    pools = choose_pools(pools, case, machine, here)
    found = answer(pools, request, here)
    if as_json:
        click.echo(found.to_json())
    else:
        console().print(answer_text(found), soft_wrap=True)


def _check_cuda_records(case: Case) -> None:
    """Refuse a choice for CUDA without records, where they cannot be made.

    Raises:
        UsageError: if there is no CUDA device here.
    """
    if not torch.cuda.is_available():
        raise UsageError(
            f"no records of {case.loss} on CUDA, and no CUDA device here: `lossbench first-light` "
            f"makes them on a machine with a GPU, and `lossbench choose {case.loss} --measure` "
            "those of one size; or give their folder with --records"
        )


def load_runs(runs: Sequence[Path], loss: str = "") -> list[Record]:
    """Return the records of runs; by default all readable ones, your own and shipped.

    Args:
        runs: folders of runs; empty for the default ones.
        loss: name of the only Loss to read, which is quick; empty for all.
    """
    if runs:
        return load_records(runs, loss)
    records, reasons = load_readable(records_folders(), loss)
    for reason in reasons:
        click.echo(f"warning: left out: {reason}", err=True)
    return records


def _measure(
    request: Request,
    records: Sequence[Record],
    machine: str,
    here: Host,
    budget: float,
    parent: Path,
) -> list[Record]:
    """Measure the variants without a record of this machine, and return the new records."""
    # An answer from records does not wait for what a run imports.
    from lossbench.bench.cli.run import run_shown

    compiled = request.compiled or request.steps is not None
    plan = plan_missing(
        request.case, records, machine, here, compiled=compiled, budget_seconds=budget
    )
    if plan is None:
        click.echo("every variant is recorded at this size: nothing to measure", err=True)
        return []
    names = ", ".join(variant for _, variant in plan.cells)
    click.echo(f"measuring {names}: about {duration(expected_seconds(plan))}", err=True)
    folder = new_folder(parent)
    start_run(folder, plan)
    run_shown(folder, plan)
    click.echo(f"records: {folder}/records.jsonl", err=True)
    return load_records([folder])
