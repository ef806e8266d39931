"""``count``: count the operators, allocations and bytes of a step, which have no noise."""

from collections.abc import Mapping, Sequence
from typing import Any

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
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.format import (
    console,
    figures_table,
    fit,
    folded,
    narrow_width,
    removed_note,
)
from lossbench.bench.frame.columns import case_row
from lossbench.bench.limits import COMMAND_SECONDS
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.counters import count_instructions
from lossbench.bench.measure.judge import Judgement, judge_with_kernels
from lossbench.bench.metric import Metric
from lossbench.bench.metrics import gated
from lossbench.bench.run.plan import check_variants, choose_device, choose_variants
from lossbench.bench.show.kernels import KERNEL_FIGURES
from lossbench.impls.triton.usage import CompiledKernel

# Those that the gate compares too, since they are the same at every run.
COUNTED = (*gated("note", "waits"), *gated("bytes"))
# Even a narrow table has the figures that the gate fails on first.
ESSENTIAL = ("ops", "peak", "saved")
KERNELS = "kernels"


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
@form_options
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

    The kernels of `--variant triton` are compiled for sm_90, or for the GPU here, and need none:
    registers, spilled and shared bytes, and instructions that multiply matrices.
    """
    check_variants([loss], variants)
    case = Case(loss, batch, dim, classes, dtype, choose_device(device)).checked()
    rows = list[dict[str, Any]]()
    worker = Worker(default_threads())
    try:
        with console(stderr=True).status(loss) as status:
            for variant in choose_variants(case, variants, compiled=False):
                status.update(f"{loss}: {variant}")
                counts = _counts(worker, case, variant, instructions=instructions)
                rows.append({**case_row(case), "variant": variant, **counts})
    finally:
        worker.close()
    kernels = [(row["variant"], kernel) for row in rows for kernel in row.pop(KERNELS, ())]
    if asked_form():
        print_rows(rows)
        return
    width = narrow_width()
    table, labels = _table(rows), [metric.label for metric in _counted(rows)]
    removed = fit(table, [name for name in reversed(labels) if name not in ESSENTIAL], width)
    console().print(Text.assemble((loss, "bold"), f"  {case}"), table)
    for row in rows:
        if row["status"] != "passed":
            note = folded(f"  {row['variant']}: {row['status']}: {row['reason']}", width, " " * 4)
            console().print(Text(note, "dim"), soft_wrap=True)
    if removed:
        console().print(removed_note(removed))
    if kernels:
        console().print(_kernels_table(kernels))


def _kernels_table(kernels: Sequence[tuple[str, CompiledKernel]]) -> Table:
    """Return a table of compiled kernels, each with the name of its variant."""
    table = figures_table("kernel", "chip", "configuration", *KERNEL_FIGURES)
    for variant, kernel in kernels:
        figures = (f"{getattr(kernel, name):,}" for name in KERNEL_FIGURES.values())
        name = f"{variant} {kernel.name}"
        table.add_row(name, f"sm_{kernel.capability}", kernel.configuration, *figures)
    return table


def _counted(rows: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """Return the figures that at least one row has."""
    return [metric for metric in COUNTED if any(metric.name in row for row in rows)]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    counted = any("instructions" in row for row in rows)
    labels = [metric.label for metric in _counted(rows)]
    table = figures_table("variant", *labels, *["instructions"] * counted)
    for row in rows:
        cells = [metric.words(row.get(metric.name)) for metric in _counted(rows)]
        if "instructions" in row:
            cells.append(f"{row['instructions']:,}")
        table.add_row(Text(row["variant"]), *cells)
    return table


def _judged(case: Case, variant: str) -> Judgement:
    return judge_with_kernels(case, impls.implementation(case.loss, variant))


def _counts(worker: Worker, case: Case, variant: str, *, instructions: bool) -> dict[str, Any]:
    """Return the figures of a variant by name, or the status and the reason of its failure."""
    try:
        found = worker.ask(COMMAND_SECONDS, _judged, case, variant)
    except Lost as lost:
        return {"status": lost.status, "reason": str(lost)}
    standing = {"status": found.status, "reason": found.reason, KERNELS: found.kernels}
    counts = {metric.name: metric.of(found) for metric in COUNTED}
    counts = {name: value for name, value in counts.items() if value is not None}
    if found.counters is None:
        return {**standing, **counts}
    # Counted outside the worker, because valgrind needs more memory than the worker may use.
    counted = {"instructions": count_instructions(case, variant)} if instructions else {}
    return {**standing, **counts, **counted}
