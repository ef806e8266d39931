"""``profile``: write traces, memory plots and flame graphs of a step, and show TensorBoard."""

from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from lossbench import impls
from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.cli.kinds import Folder, VariantName
from lossbench.bench.cli.options import device_option, loss_argument, size_options, with_option
from lossbench.bench.errors import UsageError
from lossbench.bench.format import binary, console, folded, narrow_width
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.paths import RUNS
from lossbench.bench.profile.profiling import Profile, profile_folder, profile_variant
from lossbench.bench.profile.serving import check_servable, serve
from lossbench.bench.profile.table import operator_table
from lossbench.bench.run.plan import check_variants, choose_device, choose_variants

PROFILES = RUNS / "profiles"


@click.command()
@loss_argument
@click.argument("variants", type=VariantName(), nargs=-1, metavar="[VARIANT]...")
@size_options(batch=64, dim=128, classes=10)
@click.option(
    "--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True,
    help="Dtype of inputs and parameters.",
)  # fmt: skip
@with_option
@device_option
@click.option(
    "--steps", type=click.IntRange(1), default=5, show_default=True,
    help="Number of steps to profile.",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(1), default=12, show_default=True,
    help="Number of operators to print, those with the most time first.",
)  # fmt: skip
@click.option(
    "--out", type=Folder, default=PROFILES,
    help="Folder to write to; by default results/runs/profiles.",
)  # fmt: skip
@click.option(
    "--serve", "serving", is_flag=True, help="Show the profiles in TensorBoard until Ctrl-C."
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=6006, show_default=True,
    help="Port for --serve.",
)  # fmt: skip
def profile(
    loss: str,
    variants: tuple[str, ...],
    batch: int,
    dim: int,
    classes: int,
    dtype: str,
    device: str,
    steps: int,
    rows: int,
    out: Path,
    serving: bool,
    port: int,
) -> None:
    """Show where the time and memory of a step of LOSS go, for each VARIANT.

    By default all variants that are not compiled are profiled. For each a trace for TensorBoard
    and Perfetto, a plot of the live memory over a step, and a flame graph are written. The profiler
    slows small operators down, so compare times with `run`, not with this command.
    """
    check_variants([loss], variants)
    case = Case(loss, batch, dim, classes, dtype, choose_device(device)).checked()
    chosen = tuple(dict.fromkeys(variants)) or choose_variants(case, (), compiled=False)
    if serving:
        check_servable(port)
    for warning in current_environment().warnings:
        click.echo(f"warning: {warning}", err=True)
    folder, shown, worker = profile_folder(out, case), console(), Worker(default_threads())
    reasons = []
    try:
        for variant in chosen:
            with console(stderr=True).status(f"{loss}: {variant}"):
                found = _profile(worker, case, variant, steps, folder)
            if isinstance(found, Profile):
                _show(shown, variant, found, case, steps, rows)
            else:
                reasons.append(f"{variant}: {found}")
    finally:
        worker.close()
    if len(reasons) == len(chosen):
        raise UsageError("; ".join(reasons))
    for reason in reasons:
        shown.print(Text(reason, "dim"))
    if serving:
        serve(out, port)
    shown.print(Text(f"to see the traces: tensorboard --logdir {out}", "dim"))


def _profile(worker: Worker, case: Case, variant: str, steps: int, folder: Path) -> Profile | str:
    reason = impls.implementation(case.loss, variant).unsupported(case.device, case.held_dtype)
    if reason:
        return f"unsupported: {reason}"
    try:
        return profile_variant(worker, case, variant, steps, folder)
    except Lost as lost:
        return f"{lost.status}: {lost}"


def _show(shown: Console, variant: str, found: Profile, case: Case, steps: int, rows: int) -> None:
    shown.print(Text.assemble((f"{case.loss} {variant}", "bold"), f"  {case}, per step"))
    shown.print(operator_table(found.operators, steps, rows, device=case.device == "cuda"))
    peak = found.peak
    most = ", ".join(f"{name} {binary(count)}" for name, count in list(peak.holders.items())[:4])
    line = f"peak {binary(peak.bytes)} in {peak.operator} of the {peak.phase}; mostly {most}"
    shown.print(Text(folded(line, narrow_width())))
    for file in found.files:
        shown.print(Text(f"  {file}", "dim"))
    shown.print()
