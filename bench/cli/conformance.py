"""``conformance``: degenerate inputs."""

from collections.abc import Sequence

import click
import torch
from rich.text import Text

from lossbench import impls
from lossbench.bench.cli.options import LossName, device_option, with_option
from lossbench.bench.format import conformance_table, console
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.conformance import Conformance, measure_conformance
from lossbench.bench.run.plan import choose_device


@click.command()
@click.argument("losses", type=LossName(), nargs=-1, metavar="[LOSS]...")
@click.option("--compiled", is_flag=True, help="+compile variants too, which takes long.")
@with_option
@device_option
def conformance(losses: tuple[str, ...], compiled: bool, device: str) -> None:
    """Show what every implementation of LOSSES does with degenerate inputs, beside the reference.

    `better` has a finite value where the reference has none, or is far nearer to the truth;
    `worse` has none where the reference has one, or is further off than an ordinary error.
    """
    where, out = choose_device(device), console()
    worker = Worker(default_threads())
    try:
        for loss in losses or LossName().names():
            found: dict[str, Sequence[Conformance] | str] = {}
            with console(stderr=True).status(loss) as status:
                for each in impls.implementations(loss):
                    supported = each.unsupported(where, torch.float32) is None
                    if supported and (compiled or not each.compiled):
                        status.update(f"{loss}: {each.variant}")
                        found[each.variant] = ask_conformance(worker, each, where)
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
