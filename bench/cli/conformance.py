"""``conformance``: degenerate inputs, and the situations of a training loop."""

from collections.abc import Sequence
from pathlib import Path

import click
import torch
from rich.text import Text

from lossbench import impls
from lossbench.bench.cli.options import LossName, device_option, with_option
from lossbench.bench.errors import UsageError, writing
from lossbench.bench.format import conformance_table, console
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.conformance import Conformance, measure_conformance
from lossbench.bench.run.plan import choose_device
from lossbench.bench.show.training import counts_text, training_notes, training_table
from lossbench.bench.stamped import now
from lossbench.bench.training_loop.asking import loop_workers
from lossbench.bench.training_loop.matrix import TrainingMatrix, TrainingRow, measure_rows


@click.command()
@click.argument("losses", type=LossName(), nargs=-1, metavar="[LOSS]...")
@click.option("--compiled", is_flag=True, help="+compile variants too, which takes long.")
@click.option(
    "--training", is_flag=True,
    help="Try the situations of a training loop, on the CPU: autocast, DDP, export and more.",
)  # fmt: skip
@click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False),
    help="With --training: also write the matrix to this file, for the report and the docs.",
)  # fmt: skip
@with_option
@device_option
def conformance(
    losses: tuple[str, ...], compiled: bool, training: bool, file: Path | None, device: str
) -> None:
    """Show what every implementation of LOSSES does with degenerate inputs, beside the reference.

    `better` has a finite value where the reference has none, or is far nearer to the truth;
    `worse` has none where the reference has one, or is further off than an ordinary error.
    With --training: `right`, a documented `limit`, or `worse`, in each situation.
    """
    names = losses or tuple(LossName().names())
    if training:
        if device == "cuda":
            raise UsageError("--training runs on the CPU, got --device cuda")
        show_training(names, file, compiled=compiled)
        return
    if file is not None:
        raise UsageError("--json writes the matrix of --training: give both or neither")
    show_degenerate(names, choose_device(device), compiled=compiled)


def show_training(losses: Sequence[str], file: Path | None, *, compiled: bool) -> None:
    """Print the training matrix of losses, and write it to a file where one is named."""
    out, rows = console(), list[TrainingRow]()
    with loop_workers() as workers:
        for loss in losses:
            found = list(measure_rows(workers, loss, compiled=compiled))
            out.print(Text(loss, "bold"), training_table(found))
            for note in training_notes(found):
                out.print(Text(f"  {note}", "dim"), soft_wrap=True)
            rows += found
    matrix = TrainingMatrix(current_environment(), now(), tuple(rows))
    for whose, foreign in (("lossbench's own", False), ("third parties'", True)):
        out.print(f"{whose}: {counts_text(matrix.counts(foreign=foreign))}")
    if file is not None:
        with writing(file):
            file.write_text(matrix.to_json())


def show_degenerate(losses: Sequence[str], where: str, *, compiled: bool) -> None:
    """Print what implementations do with degenerate inputs on a device type."""
    out = console()
    worker = Worker(default_threads())
    try:
        for loss in losses:
            found: dict[str, Sequence[Conformance] | str] = {}
            for implementation in impls.implementations(loss):
                supported = implementation.unsupported(where, torch.float32) is None
                if supported and (compiled or not implementation.compiled):
                    found[implementation.variant] = ask_conformance(worker, implementation, where)
            out.print(Text(loss, "bold"), conformance_table(found))
            for variant, reason in found.items():
                if isinstance(reason, str):
                    out.print(Text(f"  {variant}: {reason}", "dim"))
    finally:
        worker.close()


def ask_conformance(
    worker: Worker, implementation: impls.Implementation, device: str
) -> Sequence[Conformance] | str:
    """Return what an implementation does with degenerate inputs, or why that is not known."""
    if implementation.departs:
        return f"departs: {implementation.departs}"
    try:
        return worker.ask(
            600, measure_conformance, implementation.loss.name, implementation.variant, device
        )
    except Lost as lost:
        return f"{lost.status}: {lost}"
