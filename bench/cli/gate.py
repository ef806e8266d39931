"""``gate``: compare one commit with another, for CI."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lossbench.bench.cli.figures import check_file
from lossbench.bench.cli.options import (
    budget_option,
    device_option,
    losses_option,
    machine_option,
    threads_option,
    with_option,
)
from lossbench.bench.errors import writing
from lossbench.bench.format import console
from lossbench.bench.gate.hold import hold_gate
from lossbench.bench.gate.markdown import gate_markdown
from lossbench.bench.gate.plan import COUNTED, TIMED, GatePlan
from lossbench.bench.gate.sides import chosen_outside, copy_commits, copy_outside
from lossbench.bench.gate.table import gate_table
from lossbench.bench.paths import check_checkout
from lossbench.bench.run.plan import choose_device
from lossbench.bench.show.progress import telling
from lossbench.impls.outside import loaded


class Percent(click.ParamType[float]):
    """A percentage, with or without the sign %."""

    name = "percent"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the percentage as a share.

        Raises:
            click.BadParameter: if it is not a number from 0% to 1000%.
        """
        if isinstance(value, float):
            return value
        try:
            share = float(str(value).removesuffix("%")) / 100
        except ValueError:
            share = -1.0
        if not 0 <= share <= 10:
            self.fail(f"expected a percentage such as 5%, got {value!r}", param, ctx)
        return share


margin_option = click.option(
    "--margin",
    type=Percent(),
    default="5%",
    show_default=True,
    help="Largest accepted slowdown.",
)
gate_budget_option = budget_option(
    "Seconds of sampling per phase (forward, step) of each variant; a suspected slowdown is "
    "repeated with twice as many.",
    default=0.4,
)
gate_threads_option = threads_option(
    "CPU threads that torch uses; times vary least with 1.",
    default=1,
)


@click.command()
@click.argument("base")
@click.option("--head", help="Commit to check; by default the working tree.")
@losses_option
@click.option(
    "--variant", "variants", multiple=True,
    help="Variant to compare; can be given several times. By default all that are not compiled.",
)  # fmt: skip
@click.option("--batch", type=click.IntRange(1), multiple=True, help="Batch size B.")
@click.option("--dim", type=click.IntRange(1), multiple=True, help="Embedding dimension D.")
@click.option("--classes", type=click.IntRange(1), multiple=True, help="Number of classes C.")
@click.option(
    "--counts", is_flag=True, help="Compare agreement, bytes and counts only, and no times."
)
@margin_option
@gate_budget_option
@gate_threads_option
@machine_option
@click.option(
    "--outside", "own_files", is_flag=True,
    help="Compare the files that --with names, as they are, with those in the commit BASE of their "
    "own repository; lossbench is the same on both sides, and needs no checkout.",
)  # fmt: skip
@click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False),
    help="JSON file to write the report to.",
)  # fmt: skip
@click.option(
    "--markdown", type=click.Path(path_type=Path, dir_okay=False),
    help="Markdown file to write the findings to, for a comment on a pull request.",
)  # fmt: skip
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
    own_files: bool,
    file: Path | None,
    markdown: Path | None,
    device: str,
    **sizes: Any,
) -> None:
    """Compare the working tree with the commit BASE, and fail if it is worse.

    Both are loaded into one process and timed in turns. Without a size, every variant is compared
    at 128x128 and 100 classes; its bytes and operators are also counted at 1024x128 and 1000
    classes.

    The exit code is 1 if times, bytes, waits for the device or agreement with float64 got worse,
    2 if something could not be measured, and 0 otherwise.

    A file that --with names is compared too: the same file runs with the code of each commit. With
    --outside it is the other way round, for a repository of your own.
    """
    files = files_outside()
    if own_files:
        losses, variants = chosen_outside(losses, variants)
    else:
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
    wanted = [each for each in (file, markdown) if each is not None]
    for each in wanted:
        check_file(each)
    with tempfile.TemporaryDirectory(prefix="lossbench-") as folder, telling() as tell:
        trees = copy_outside if own_files else copy_commits
        report = hold_gate(*trees(Path(folder), base, head, files), plan, tell)
    if file is not None:
        with writing(file):
            file.write_text(report.to_json())
    if markdown is not None:
        with writing(markdown):
            markdown.write_text(gate_markdown(report))
    console().print(gate_table(report))
    click.get_current_context().exit(report.exit_code)


def files_outside() -> list[Path]:
    """Return the files that ``--with`` named; warn of modules, which cannot be copied to a tree."""
    for origin in loaded():
        if not origin.is_file:
            click.echo(f"warning: left out: {origin}; the gate takes files only", err=True)
    return [Path(origin.source) for origin in loaded() if origin.is_file]
