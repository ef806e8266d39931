"""``gate``: hold one commit against another, for CI."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from lossbench.bench.cli.figures import check_file
from lossbench.bench.cli.options import FiniteRange, Name, device_option, losses_option, with_option
from lossbench.bench.errors import writing
from lossbench.bench.format import console
from lossbench.bench.gate.compare import BASE, HEAD
from lossbench.bench.gate.hold import Tell, hold_gate
from lossbench.bench.gate.plan import COUNTED, TIMED, GatePlan
from lossbench.bench.gate.table import gate_table
from lossbench.bench.gate.trees import copy_files, copy_revision, with_outside
from lossbench.bench.paths import check_checkout
from lossbench.bench.run.plan import choose_device
from lossbench.impls.outside import loaded


class Percent(click.ParamType[float]):
    """A share in per cent, with the sign or without."""

    name = "percent"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the share.

        Raises:
            click.BadParameter: where it is none from 0 to 1000%.
        """
        if isinstance(value, float):
            return value
        try:
            share = float(str(value).removesuffix("%")) / 100
        except ValueError:
            share = -1.0
        if not 0 <= share <= 10:
            self.fail(f"expected a share such as 5%, got {value!r}", param, ctx)
        return share


margin_option = click.option(
    "--margin",
    type=Percent(),
    default="5%",
    show_default=True,
    help="How much slower is let pass.",
)
budget_option = click.option(
    "--budget",
    type=FiniteRange(0, min_open=True),
    default=0.4,
    show_default=True,
    help="Seconds to sample a phase of a variant; twice as many to confirm what is suspected.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Threads of torch; one is the steadiest.",
)


@click.command()
@click.argument("base")
@click.option("--head", help="A commit to hold against it; by default the working tree.")
@losses_option
@click.option("--variant", "variants", multiple=True, help="By default all but compiled ones.")
@click.option("--batch", type=click.IntRange(1), multiple=True, help="Samples, B.")
@click.option("--dim", type=click.IntRange(1), multiple=True, help="Embedding size, D.")
@click.option("--classes", type=click.IntRange(1), multiple=True, help="Classes, C.")
@click.option("--counts", is_flag=True, help="Agreement, bytes and counts alone; no times.")
@margin_option
@budget_option
@threads_option
@click.option(
    "--machine", type=Name(), default="", help="The name this machine goes by in the report."
)
@click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="A report to write."
)
@with_option
@device_option
def gate(
    base: str,
    head: str | None,
    losses: tuple[str, ...],
    variants: tuple[str, ...],
    counts: bool,
    margin: float,
    budget: float,
    threads: int,
    machine: str,
    file: Path | None,
    device: str,
    **sizes: Any,
) -> None:
    """Compare the working tree with the commit BASE, and fail where it got worse.

    Both are loaded into one process and timed in turns. Without a size, all are compared at
    128x128 and 100 classes, and weighed once more at 1024x128 and 1000 classes.

    The exit code is 1 where times, bytes, waits for the device or agreement with float64 got worse,
    2 where something could not be measured, else 0.

    A file that --with names is compared too: one and the same, over the code of either commit.
    """
    check_checkout("gate")
    given: dict[str, Any] = {axis: values for axis, values in sizes.items() if values}
    plan = GatePlan(
        margin=margin,
        budget_seconds=budget,
        threads=threads,
        device=choose_device(device),
        machine=machine,
        losses=losses,
        variants=variants,
        timed=(replace(TIMED, **given),),
        counted=() if given else (COUNTED,),
        counts_only=counts,
    )
    if file is not None:
        check_file(file)
    with tempfile.TemporaryDirectory(prefix="lossbench-") as folder, telling() as tell:
        trees = Path(folder)
        old = copy_revision(BASE, trees, base)
        new = copy_revision(HEAD, trees, head) if head else copy_files(HEAD, trees)
        files = files_outside()
        old, new = with_outside(old, files), with_outside(new, files)
        report = hold_gate(old, new, plan, tell)
    if file is not None:
        with writing(file):
            file.write_text(report.to_json())
    console().print(gate_table(report))
    click.get_current_context().exit(report.exit_code)


def files_outside() -> list[Path]:
    """Return the files that ``--with`` named; tell of modules, which no tree can have a copy of."""
    for origin in loaded():
        if not origin.is_file:
            click.echo(f"warning: left out: {origin}; the gate takes files alone", err=True)
    return [Path(origin.source) for origin in loaded() if origin.is_file]


@contextmanager
def telling() -> Iterator[Tell]:
    """Show what goes on: the last of it on a terminal, a line each elsewhere."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield lambda text: out.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    with out.status("starting") as status:
        yield lambda text: status.update(escape(text))
