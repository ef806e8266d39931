"""``count``: what noise does not reach."""

import click
from rich.table import Table
from rich.text import Text

from lossbench import impls
from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.cli.options import VARIANTS, device_option, loss_argument, size_options
from lossbench.bench.format import binary, console
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.counters import Counters, count_instructions, measure_counters
from lossbench.bench.measure.memory import Memory, measure_memory
from lossbench.bench.run.plan import check_variants, choose_device, choose_variants


@click.command()
@loss_argument
@click.option("--variant", "variants", type=click.Choice(VARIANTS), multiple=True)
@size_options(batch=64, dim=128, classes=10)
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True)
@click.option("--instructions", is_flag=True, help="By valgrind, a minute or two a variant.")
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
    """Count what one step of LOSS does: operators, buffers, bytes, waits for the device.

    The figures are the same at every run of one build, so that they can be compared across
    commits on the noisiest machine.
    """
    check_variants(loss, variants)
    case = Case(loss, batch, dim, classes, dtype, choose_device(device))
    table = Table("variant", box=None, pad_edge=False, header_style="bold")
    for column in ("operators", "waits", "buffers", "peak", "saved", "instructions"):
        table.add_column(column, justify="right")
    worker = Worker(default_threads())
    try:
        for variant in choose_variants(case, variants, compiled=False):
            table.add_row(Text(variant), *_cells(worker, case, variant, instructions=instructions))
    finally:
        worker.close()
    console().print(Text.assemble((loss, "bold"), f"  {case}"), table)


def counted(case: Case, variant: str) -> tuple[Counters, Memory]:
    """Return the counts of one step of a variant."""
    implementation = impls.implementation(case.loss, variant)
    return measure_counters(case, implementation), measure_memory(case, implementation)


def _cells(worker: Worker, case: Case, variant: str, *, instructions: bool) -> list[str]:
    reason = impls.implementation(case.loss, variant).unsupported(case.device, case.held_dtype)
    if reason:
        return [f"unsupported: {reason}"]
    try:
        counters, memory = worker.ask(600, counted, case, variant)
    except Lost as lost:
        return [f"{lost.status}: {lost}"]
    return [
        f"{counters.operators}",
        f"{counters.synchronisations}",
        f"{memory.allocations}",
        binary(memory.step_peak_bytes),
        binary(memory.saved_bytes),
        # Not by the worker, whose cap on memory valgrind would not live with.
        f"{count_instructions(case, variant):,}" if instructions else "",
    ]
