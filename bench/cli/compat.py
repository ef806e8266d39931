"""``compat``: prove the implementations on the torch that runs."""

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
from rich.text import Text

from lossbench import impls
from lossbench.bench.cli.kinds import LossName, VariantName
from lossbench.bench.cli.options import device_option, machine_option
from lossbench.bench.compat.proof import CompatProof, prove
from lossbench.bench.compat.table import (
    CompatColumn,
    CompatRow,
    CompatTable,
    load_table,
    write_column,
)
from lossbench.bench.format import console
from lossbench.bench.limits import COMPAT_SECONDS
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.paths import COMPAT_FILE, RESULTS
from lossbench.bench.run.plan import check_variants, choose_device
from lossbench.bench.show.compat import compat_counts, compat_notes, compat_table
from lossbench.bench.stamped import now


@click.command()
@click.argument("losses", type=LossName(), nargs=-1, metavar="[LOSS]...")
@click.option(
    "--variant", "variants", type=VariantName(), multiple=True,
    help="Variant to try; can be given several times. By default all.",
)  # fmt: skip
@click.option(
    "--compiled/--eager", default=None,
    help="Try +compile variants only, which take a minute each, or leave them out.",
)  # fmt: skip
@click.option(
    "--quick", is_flag=True,
    help="Try compiled variants on one size and one golden vector, in a third of the time.",
)  # fmt: skip
@click.option("--missing", is_flag=True, help="Leave out what --out already has for this torch.")
@click.option(
    "--out", "file", type=click.Path(path_type=Path, dir_okay=False), default=RESULTS / COMPAT_FILE,
    show_default="results/compat.json",
    help="JSON file with the table of all releases, to write the column into.",
)  # fmt: skip
@machine_option
@device_option
def compat(
    losses: tuple[str, ...],
    variants: tuple[str, ...],
    compiled: bool | None,
    quick: bool,
    missing: bool,
    file: Path,
    machine: str,
    device: str,
) -> int:
    """Prove each implementation of LOSSES on the torch that runs.

    Without LOSSES all losses are tried. An implementation is `right` if it keeps the contract,
    agrees with the definition and gives the golden vectors; otherwise the smallest input that is
    `wrong` is named. The results go into the table that `choose`, `show` and the report read,
    after every loss: `--missing` goes on with an interrupted run. If TORCHINDUCTOR_CACHE_DIR is
    set, compiled code is kept there.

    The exit code is 1 if one of lossbench's own implementations is wrong.
    """
    where, found = choose_device(device), list[CompatRow]()
    losses = losses or tuple(LossName().names())
    check_variants(losses, variants)
    tried = tried_before(file, column_of((), where, machine)) if missing else set()
    kept = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    # One thread: with several, the order of a sum depends on their number.
    worker = Worker(1, compiled=Path(kept) if kept else None)
    try:
        for loss in losses:
            entries = choose_entries(loss, variants, compiled)
            entries = [each for each in entries if (loss, each.variant) not in tried]
            if not entries:
                continue
            rows = list(prove_rows(worker, entries, where, quick=quick))
            # Written loss by loss, so that an interrupted run keeps what it has found.
            write_column(file, column_of(rows, where, machine))
            show_rows(loss, column_of(rows, where, machine))
            found += rows
    finally:
        worker.close()
    column = column_of(found, where, machine)
    for line in compat_counts(CompatTable((column,))):
        console().print(line, soft_wrap=True)
    click.echo(f"written: {file}", err=True)
    return int(column.counts(foreign=False)["wrong"] > 0)


def show_rows(loss: str, column: CompatColumn) -> None:
    """Print what was found of a Loss."""
    out, alone = console(), CompatTable((column,))
    out.print(Text(loss, "bold"), compat_table(alone, loss))
    for note in compat_notes(alone, loss):
        out.print(Text(f"  {note}", "dim"), soft_wrap=True)


def column_of(rows: Sequence[CompatRow], device: str, machine: str) -> CompatColumn:
    """Return a column of this torch on this machine."""
    environment = current_environment(machine, threads=1)
    return CompatColumn(environment, now(), device, platform.machine(), tuple(rows))


def choose_entries(
    loss: str, variants: tuple[str, ...], compiled: bool | None
) -> list[impls.Implementation]:
    """Return the implementations of a Loss to try.

    Args:
        loss: name of the Loss.
        variants: names of the variants to try; empty for all.
        compiled: whether to try ``+compile`` variants only, or no such; ``None`` for all.
    """
    named = [e for e in impls.implementations(loss) if not variants or e.variant in variants]
    return [each for each in named if compiled in (None, each.compiled)]


def tried_before(file: Path, column: CompatColumn) -> set[tuple[str, str]]:
    """Return the losses and variants that a file has rows of, in the place of a column."""
    columns = load_table(file).columns if file.exists() else ()
    same = (each for each in columns if each.place == column.place)
    return {(row.loss, row.variant) for each in same for row in each.rows}


def prove_rows(
    worker: Worker, entries: Iterable[impls.Implementation], device: str, *, quick: bool
) -> Iterator[CompatRow]:
    """Yield the result of each implementation.

    Args:
        worker: process that tries them.
        entries: implementations to try.
        device: device type to compute on.
        quick: whether compiled variants are tried on few inputs.
    """
    with console(stderr=True).status("") as status:
        for each in entries:
            loss, variant = each.loss.name, each.variant
            status.update(f"{loss}: {variant}")
            proof = _ask(worker, loss, variant, device, quick)
            yield CompatRow(loss, variant, each.foreign, proof)


def _ask(worker: Worker, loss: str, variant: str, device: str, quick: bool) -> CompatProof:
    try:
        return worker.ask(COMPAT_SECONDS, prove, loss, variant, device, quick=quick)
    except Lost as lost:
        return CompatProof("wrong", f"{lost.status}: {lost}")
