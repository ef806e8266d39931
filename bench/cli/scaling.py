"""``scaling``: fit growth with size, and find the largest batch."""

from collections.abc import Iterable, Iterator
from typing import Any

import click
from pydantic import ConfigDict, RootModel
from pydantic.dataclasses import dataclass
from rich.text import Text

from lossbench.bench.case.cases import Case
from lossbench.bench.cli.kinds import Bytes
from lossbench.bench.cli.options import (
    budget_option,
    device_option,
    loss_argument,
    size_options,
    threads_option,
    timeout_option,
    variants_option,
    with_option,
)
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.errors import UsageError
from lossbench.bench.format import binary, console, folded, narrow_width
from lossbench.bench.limits import SCALING_SECONDS
from lossbench.bench.machine.environment import Environment, current_environment
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Worker
from lossbench.bench.run.plan import check_variants, choose_device, choose_variants
from lossbench.bench.scaling.largest import LargestBatch, find_largest, free_memory
from lossbench.bench.scaling.laws import FEWEST_POINTS, Scaling, axes_of, sweep
from lossbench.bench.scaling.sweep import Sweeper
from lossbench.bench.scaling.table import exponent_tables, largest_table, notes
from lossbench.bench.show.progress import telling
from lossbench.bench.timing.sampling import Sampling

# The tensors of the smallest step take less, but no worker can run one in it.
LEAST_MEMORY = 2**20


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class ScalingReport:
    """The report of ``scaling``.

    Attributes:
        centre: Case in the middle of every sweep.
        environment: machine and software of the measurement.
        scalings: fitted exponents, one entry per variant and axis.
        largest: largest batches, one entry per variant.
    """

    centre: Case
    environment: Environment
    scalings: tuple[Scaling, ...]
    largest: tuple[LargestBatch, ...]


@click.command()
@loss_argument
@variants_option
@size_options(batch=512, dim=128, classes=1000)
@click.option(
    "--points", type=click.IntRange(FEWEST_POINTS), default=5, show_default=True,
    help="Number of sizes per axis, by factors of 2 around the given size.",
)  # fmt: skip
@click.option(
    "--memory", type=Bytes(),
    help="Memory that the largest batch must fit in, for example 2GiB; by default 4/5 of the free "
    "memory.",
)  # fmt: skip
@with_option
@device_option
@budget_option("Seconds of sampling per phase (forward, step) of each size.", default=0.3)
@timeout_option(
    "Seconds after which a measurement or a trial of a batch is given up.",
    default=SCALING_SECONDS,
)
@threads_option()
@form_options
def scaling(
    loss: str,
    variants: tuple[str, ...],
    batch: int,
    dim: int,
    classes: int,
    points: int,
    memory: int | None,
    device: str,
    budget: float,
    timeout: float,
    threads: int | None,
) -> None:
    """Fit how time and memory of LOSS grow with batch, dim and classes; find the largest batch.

    Each cell has the exponent fitted over all sizes, its standard error, and behind the arrow the
    exponent between the last two sizes. If the two exponents differ, fixed costs bend the curve,
    and the fit must not be extrapolated.
    """
    centre = Case(loss, batch, dim, classes, device=choose_device(device)).checked()
    check_variants([loss], variants)
    names = tuple(dict.fromkeys(variants)) or choose_variants(centre, (), compiled=False)
    sweeps = {axis: sweep(centre, axis, points) for axis in axes_of(loss)}
    threads = threads or default_threads()
    memory = _enough(memory or free_memory(centre.device))
    out, worker, fresh = console(), Worker(threads), Worker(threads)
    try:
        with telling() as tell:
            sweeper = Sweeper(worker, Sampling(budget), timeout, tell)
            found = [sweeper.along(axis, sweeps[axis], name) for axis in sweeps for name in names]
            largest = [
                find_largest(sweeper, fresh, centre, scaling, memory)
                for scaling in found
                if scaling.axis == "batch" and "step_seconds" in scaling.laws
            ]
    finally:
        worker.close()
        fresh.close()
    if asked_form():
        environment = current_environment(threads=threads)
        report = ScalingReport(centre, environment, tuple(found), tuple(largest))
        document = RootModel[ScalingReport](report).model_dump(mode="json")
        print_rows(_rows(found, largest), document)
        return
    width = narrow_width()
    for table in exponent_tables(sweeps, found, narrow=width is not None):
        out.print(table)
    out.print(largest_table(largest, narrow=width is not None))
    for note in notes(found, largest):
        out.print(Text(folded(note, width, " " * 4), "dim"), soft_wrap=True)


def _enough(memory: int) -> int:
    """Return the memory for the largest batch.

    Raises:
        UsageError: if it is less than any step takes.
    """
    if memory < LEAST_MEMORY:
        raise UsageError(
            f"--memory: expected {binary(LEAST_MEMORY)} or more for a step, got {binary(memory)}; "
            "a number without a unit is bytes, as in 2GiB"
        )
    return memory


def _rows(found: Iterable[Scaling], largest: Iterable[LargestBatch]) -> Iterator[dict[str, Any]]:
    """Yield a row for each exponent, and for each largest batch."""
    for scaling in found:
        cell = {"variant": scaling.variant, "axis": scaling.axis, "reason": scaling.reason}
        yield from ({**cell, "quantity": name, **vars(law)} for name, law in scaling.laws.items())
        if not scaling.laws:
            yield cell
    for entry in largest:
        yield {
            "variant": entry.variant,
            "quantity": "largest_batch",
            "memory_bytes": entry.memory_bytes,
            "predicted": entry.predicted,
            "ran": entry.ran,
            "did_not": entry.did_not,
            "reason": entry.reason,
        }
