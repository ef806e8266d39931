"""``choose``: one implementation, and why; ``choose-table`` and ``choose-check`` beside it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench.cases import DATA_KINDS, DTYPES, Case
from bench.choose.answer import Answer, AnswerFile, answer
from bench.choose.measuring import measure_missing, missing_variants
from bench.choose.request import Request
from bench.choose.shipped import SHIPPED, table_text
from bench.choose.sources import (
    Host,
    NotMeasured,
    alike,
    choose_pools,
    load_readable,
    load_records,
    pools_of,
)
from bench.choose.text import answer_text
from bench.cli.options import LOSSES, Bytes, Folder, device_option, size_options
from bench.cli.run import RUNS
from bench.environment import ROOT, current_environment
from bench.errors import UsageError
from bench.plan import choose_device
from bench.progress import watching
from bench.records import Record
from bench.table import console

RESULTS = ROOT / "results"

records_option = click.option(
    "--records", "runs", type=Folder, multiple=True,
    help="Runs, or folders that hold some; by default all in results/.",
)  # fmt: skip
machine_option = click.option(
    "--machine", default="", help="Whose records to take; by default those of a machine like this."
)


@click.command()
@click.argument("loss", type=click.Choice(LOSSES))
@size_options(batch=256, dim=128, classes=1000)
@device_option
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True)
@click.option("--autocast", is_flag=True, help="Hold float32, and run under autocast to --dtype.")
@click.option("--data", type=click.Choice(DATA_KINDS), default="gaussian", show_default=True)
@click.option("--max-memory", type=Bytes(), help="Of a step's peak, as in 512MiB.")
@click.option(
    "--max-error", type=click.FloatRange(0, min_open=True), help="Relative, against float64."
)
@click.option("--steps", type=click.IntRange(1), help="To be taken; compiling counts over so many.")
@click.option("--needs", multiple=True, metavar="OUTPUT", help="That must be computed, as logits.")
@click.option("--no-third-party", is_flag=True, help="With torch alone.")
@click.option("--sparse", is_flag=True, help="The optimizer takes sparse gradients.")
@records_option
@machine_option
@click.option(
    "--measure/--no-measure", default=None,
    help="Measure this very size where it is not recorded, or nothing. By default what is neither "
    "recorded nor between recorded sizes.",
)  # fmt: skip
@click.option("--compiled", is_flag=True, help="Measure +compile variants too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
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
    """Choose one implementation of LOSS, and say why and how sure that is.

    It answers from records of a machine like this one; sizes between recorded ones are
    interpolated, others are measured.
    """
    # Records of a CUDA machine can be read without one.
    where = device if device == "cuda" else choose_device(device)
    case = Case(loss, batch, dim, classes, dtype, where, data, autocast=autocast)
    request = Request(case, third_party=not no_third_party, **constraints)
    records = load_runs(runs)
    try:
        found = None if measure else _answer(request, records, machine)
    except NotMeasured:
        if measure is False:
            raise
        found = None
    if found is None:
        records += _measure(request, records, machine, compiled=compiled)
        found = _answer(request, records, machine)
    if as_json:
        click.echo(AnswerFile(found).model_dump_json(indent=1))
    else:
        console().print(answer_text(found), soft_wrap=True)


def load_runs(runs: Sequence[Path]) -> list[Record]:
    """Return the records of runs; by default of all in ``results/`` that can be read."""
    if runs:
        return load_records(runs)
    records, reasons = load_readable(RESULTS)
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
    """Measure the variants that this machine has no record of, and return the new records."""
    case, pools = request.case, pools_of(records, request.case)
    like_this = alike(pools, _here(case.device))
    if machine in {pool.host.machine for pool in pools if pool not in like_this}:
        raise UsageError(f"this is not the machine {machine!r}, so that --measure is of no use")
    mine = [pool for pool in like_this if machine in ("", pool.host.machine)]
    known = mine[0].records if mine else ()
    machine = mine[0].host.machine if mine else machine
    variants = missing_variants(case, known, compiled=compiled)
    if not variants:
        return []
    folder = RUNS / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    try:
        measure_missing(case, variants, folder, machine, watching)
    except KeyboardInterrupt:
        click.echo(f"stopped; to go on: python -m bench run --resume {folder}", err=True)
        raise
    click.echo(f"records: {folder}/records.jsonl", err=True)
    return load_records([folder])


@click.command("choose-table")
@records_option
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=SHIPPED, show_default=True
)
def choose_table(runs: tuple[Path, ...], out: Path) -> None:
    """Write the table that `impls.build(..., variant="auto")` takes, to be reviewed and shipped."""
    text = table_text(load_runs(runs))
    try:
        out.write_text(text)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}; expected a file to write") from error
    click.echo(f"written: {out}", err=True)
