"""``count``: count the operators, allocations and bytes of a step, which have no noise."""

import click
from rich.table import Table
from rich.text import Text

from lossbench import impls
from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.cli.options import (
    device_option,
    loss_argument,
    size_options,
    variants_option,
    with_option,
)
from lossbench.bench.format import console
from lossbench.bench.limits import COMMAND_SECONDS
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.counters import count_instructions
from lossbench.bench.measure.judge import Judgement, judge
from lossbench.bench.metrics import gated
from lossbench.bench.run.plan import check_variants, choose_device, choose_variants

# Those that the gate compares too, since they are the same at every run.
COUNTED = (*gated("note", "waits"), *gated("bytes"))


@click.command()
@loss_argument
@variants_option
@size_options(batch=64, dim=128, classes=10)
@click.option(
    "--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True,
    help="Dtype of inputs and parameters.",
)  # fmt: skip
@click.option(
    "--instructions", is_flag=True,
    help="Count CPU instructions too, with valgrind; one or two minutes per variant.",
)  # fmt: skip
@with_option
@device_option
def count(
    loss: str,
    variants: tuple[str, ...],
    batch: int,
    dim: int,
    classes: int,
    dtype: str,
    instructions: bool,
    device: str,
) -> None:
    """Count the operators, device waits, buffers and bytes of one step of LOSS.

    A step is forward and backward. The counts of a build are the same in every run, so commits can
    be compared even on a noisy machine.

    operators: calls of torch operators. waits: times the CPU waits for the device. buffers:
    allocations. peak: most bytes at once above inputs and parameters. saved: bytes saved for
    backward.
    """
    check_variants([loss], variants)
    case = Case(loss, batch, dim, classes, dtype, choose_device(device)).checked()
    table = Table("variant", box=None, pad_edge=False, header_style="bold")
    for column in (*(metric.label for metric in COUNTED), *["instructions"] * instructions):
        table.add_column(column, justify="right")
    worker = Worker(default_threads())
    try:
        with console(stderr=True).status(loss) as status:
            for variant in choose_variants(case, variants, compiled=False):
                status.update(f"{loss}: {variant}")
                cells = _cells(worker, case, variant, instructions=instructions)
                table.add_row(Text(variant), *cells)
    finally:
        worker.close()
    console().print(Text.assemble((loss, "bold"), f"  {case}"), table)


def _judged(case: Case, variant: str) -> Judgement:
    return judge(case, impls.implementation(case.loss, variant))


def _cells(worker: Worker, case: Case, variant: str, *, instructions: bool) -> list[str]:
    try:
        found = worker.ask(COMMAND_SECONDS, _judged, case, variant)
    except Lost as lost:
        return [f"{lost.status}: {lost}"]
    if found.counters is None or found.memory is None:
        return [f"{found.status}: {found.reason}"]
    cells = [metric.words(metric.of(found)) for metric in COUNTED]
    # Counted outside the worker, because valgrind needs more memory than the worker may use.
    return [*cells, f"{count_instructions(case, variant):,}"] if instructions else cells
