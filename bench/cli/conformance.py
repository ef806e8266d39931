"""``conformance``: test implementations on degenerate inputs and in a training loop."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from rich.text import Text

from lossbench import impls
from lossbench.bench.cli.kinds import LossName
from lossbench.bench.cli.options import device_option, with_option
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.errors import UsageError, writing
from lossbench.bench.format import (
    conformance_notes,
    conformance_table,
    console,
    fit,
    folded,
    narrow_width,
    removed_note,
)
from lossbench.bench.limits import COMMAND_SECONDS
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.conformance import Conformance, measure_conformance
from lossbench.bench.run.plan import choose_device
from lossbench.bench.show.training import counts_text, training_notes, training_table
from lossbench.bench.stamped import now
from lossbench.bench.training_loop.asking import loop_workers
from lossbench.bench.training_loop.matrix import TrainingMatrix, TrainingRow, measure_rows
from lossbench.impls.compiled import is_compiled


@click.command()
@click.argument("losses", type=LossName(), nargs=-1, metavar="[LOSS]...")
@click.option("--compiled", is_flag=True, help="Include +compile variants, which take minutes.")
@click.option(
    "--training", is_flag=True,
    help="Test the situations of a training loop instead, on the CPU: autocast, DDP and more.",
)  # fmt: skip
@click.option(
    "--out", "file", type=click.Path(path_type=Path, dir_okay=False),
    help="JSON file to write the matrix of --training to, for the report and the docs.",
)  # fmt: skip
@with_option
@device_option
@form_options
def conformance(
    losses: tuple[str, ...], compiled: bool, training: bool, file: Path | None, device: str
) -> None:
    """Compare each implementation of LOSSES with the reference on degenerate inputs.

    Without LOSSES all losses are tested. An implementation is `better` if its result is finite and
    the reference's is not, or if its error is much smaller. It is `worse` if only the reference's
    result is finite, or if its error is larger than rounding explains. Otherwise it is `same`.

    With --training each implementation is `right`, has a documented `limit`, or is `worse` in each
    situation of a training loop.
    """
    names = losses or tuple(LossName().names())
    if training:
        if device == "cuda":
            raise UsageError("--training runs on the CPU, got --device cuda")
        show_training(names, file, compiled=compiled)
        return
    if file is not None:
        raise UsageError("--out writes the matrix of --training: give both or neither")
    show_degenerate(names, choose_device(device), compiled=compiled)


def show_training(losses: Sequence[str], file: Path | None, *, compiled: bool) -> None:
    """Print the training matrix of losses, and write it to a file where one is named."""
    out, rows = console(), list[TrainingRow]()
    with loop_workers() as workers:
        for loss in losses:
            found = list(measure_rows(workers, loss, compiled=compiled))
            rows += found
            if asked_form():
                continue
            out.print(Text(loss, "bold"), training_table(found))
            for note in training_notes(found):
                out.print(Text(f"  {note}", "dim"), soft_wrap=True)
    matrix = TrainingMatrix(current_environment(), now(), tuple(rows))
    if asked_form():
        print_rows(
            {"loss": row.loss, "variant": row.label, **vars(finding)}
            for row in rows
            for finding in row.findings
        )
    else:
        for whose, foreign in (("lossbench's own", False), ("third parties'", True)):
            out.print(f"{whose}: {counts_text(matrix.counts(foreign=foreign))}")
    if file is not None:
        with writing(file):
            file.write_text(matrix.to_json())


def show_degenerate(losses: Sequence[str], where: str, *, compiled: bool) -> None:
    """Print what implementations do with degenerate inputs on a device type."""
    out, width, rows = console(), narrow_width(), list[dict[str, Any]]()
    worker = Worker(default_threads())
    try:
        for loss in losses:
            found: dict[str, Sequence[Conformance] | str] = {}
            with console(stderr=True).status(loss) as status:
                for each in impls.implementations(loss):
                    supported = each.unsupported(where, torch.float32) is None
                    if supported and (compiled or not each.compiled):
                        status.update(f"{loss}: {each.variant}")
                        found[each.variant] = ask_conformance(worker, each, where)
            rows += conformance_rows(loss, found)
            if asked_form():
                continue
            table = conformance_table(found, narrow=width is not None)
            removed = fit(table, [v for v in found if is_compiled(v)], width)
            out.print(Text(loss, "bold"), table)
            for line in conformance_notes(found, narrow=width is not None):
                out.print(Text(folded(f"  {line}", width, " " * 4), "dim"), soft_wrap=True)
            if removed:
                out.print(removed_note(removed))
    finally:
        worker.close()
    if asked_form():
        print_rows(rows)


def conformance_rows(
    loss: str, found: Mapping[str, Sequence[Conformance] | str]
) -> Iterator[dict[str, Any]]:
    """Yield a row for each variant of a loss and degenerate input."""
    for variant, parts in found.items():
        if isinstance(parts, str):
            yield {"loss": loss, "variant": variant, "reason": parts}
            continue
        yield from ({"loss": loss, "variant": variant, **vars(part)} for part in parts)


def ask_conformance(
    worker: Worker, implementation: impls.Implementation, device: str
) -> Sequence[Conformance] | str:
    """Return the results on degenerate inputs, or the reason why there are none."""
    if implementation.departs:
        return f"departs: {implementation.departs}"
    try:
        return worker.ask(
            COMMAND_SECONDS,
            measure_conformance,
            implementation.loss.name,
            implementation.variant,
            device,
        )
    except Lost as lost:
        return f"{lost.status}: {lost}"
