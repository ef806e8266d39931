"""``choose``: choose one implementation of a loss, with reasons."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch

from lossbench.bench.case.cases import DATA_KINDS, DTYPES, Case
from lossbench.bench.choose.answer import Answer, answer
from lossbench.bench.choose.measuring import plan_missing
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import (
    Host,
    NotMeasured,
    choose_pools,
    load_readable,
    load_records,
    pools_of,
)
from lossbench.bench.choose.text import answer_text
from lossbench.bench.cli.options import (
    Bytes,
    FiniteRange,
    Folder,
    Name,
    device_option,
    loss_argument,
    size_options,
    with_option,
)
from lossbench.bench.cli.run import run_shown
from lossbench.bench.format import console
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.paths import RUNS, new_folder, records_folders
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
    help="Number of training steps over which compile time is spread; by default compile time is "
    "ignored.",
)  # fmt: skip
@click.option(
    "--needs", multiple=True, metavar="NAME",
    help="Output that the implementation must compute, for example logits, or situation of a "
    "training loop that it must fit: ddp, autocast, export, checkpointing, double-backward and "
    "more; can be given several times.",
)  # fmt: skip
@click.option("--no-third-party", is_flag=True, help="Use no package besides torch.")
@click.option(
    "--sparse", is_flag=True, help="Allow sparse gradients; your optimizer must take them."
)
@records_option
@machine_option
@click.option(
    "--measure/--no-measure", default=None,
    help="--measure: measure this size if it is not recorded. --no-measure: measure nothing. By "
    "default a size is measured if it is neither recorded nor between recorded sizes.",
)  # fmt: skip
@click.option("--compiled", is_flag=True, help="If measuring, include +compile variants.")
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
    no_third_party: bool,
    runs: tuple[Path, ...],
    machine: str,
    measure: bool | None,
    compiled: bool,
    as_json: bool,
    **constraints: Any,
) -> None:
    """Choose the fastest implementation of LOSS that meets your constraints, with reasons.

    The choice rests on records of a machine like this one. Times at a size between recorded sizes
    are interpolated; any other size is measured first.
    """
    # Records of a CUDA machine can be read on a machine without CUDA.
    where = device if device == "cuda" else choose_device(device)
    case = Case(loss, batch, dim, classes, dtype, where, data, autocast=autocast).checked()
    request = Request(case, third_party=not no_third_party, **constraints)
    records = load_runs(runs)
    try:
        found = None if measure else _answer(request, records, machine)
    except NotMeasured:
        if measure is False or (where == "cuda" and not torch.cuda.is_available()):
            raise
        found = None
    if found is None:
        records += _measure(request, records, machine, compiled=compiled)
        found = _answer(request, records, machine)
    if as_json:
        click.echo(found.to_json())
    else:
        console().print(answer_text(found), soft_wrap=True)


def load_runs(runs: Sequence[Path]) -> list[Record]:
    """Return the records of runs; by default all readable ones, your own and shipped."""
    if runs:
        return load_records(runs)
    records, reasons = load_readable(records_folders())
    for reason in reasons:
        click.echo(f"warning: left out: {reason}", err=True)
    return records


def _here(device: str) -> Host:
    return Host.of(current_environment(), device)


def _answer(request: Request, records: Sequence[Record], machine: str) -> Answer:
    pools = pools_of(records, request.case)
    return answer(choose_pools(pools, request.case, machine, _here(request.case.device)), request)


def _measure(
    request: Request, records: Sequence[Record], machine: str, *, compiled: bool
) -> list[Record]:
    """Measure the variants without a record of this machine, and return the new records."""
    here = _here(request.case.device)
    plan = plan_missing(request.case, records, machine, here, compiled=compiled)
    if plan is None:
        return []
    folder = new_folder(RUNS)
    start_run(folder, plan)
    run_shown(folder, plan)
    click.echo(f"records: {folder}/records.jsonl", err=True)
    return load_records([folder])
