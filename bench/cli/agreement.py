"""``agreement``: errors against float64, in numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import click
from rich.text import Text

from lossbench import impls
from lossbench.bench.case.cases import AUTOCAST_DTYPES, DTYPES, Case
from lossbench.bench.cli.options import (
    device_option,
    loss_argument,
    size_options,
    variants_option,
    with_option,
)
from lossbench.bench.format import console
from lossbench.bench.limits import COMMAND_SECONDS
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.agreement import Agreement, measure_agreement
from lossbench.bench.measure.trajectory import Trajectory, measure_trajectory
from lossbench.bench.run.plan import check_variants, choose_device, choose_variants
from lossbench.bench.show.agreement import LEGEND, agreement_table

T = TypeVar("T")


@click.command()
@loss_argument
@variants_option
@size_options(batch=64, dim=128, classes=10)
@click.option("--all", "every", is_flag=True, help="Every quantity, not the nearest to its budget.")
@with_option
@device_option
def agreement(
    loss: str,
    variants: tuple[str, ...],
    batch: int,
    dim: int,
    classes: int,
    every: bool,
    device: str,
) -> None:
    """Show how far the implementations of LOSS are from float64, beside the reference's own error.

    In every precision, with autocast and without, and after 50 steps of SGD. `+compile` variants
    are shown where --variant names them.
    """
    case = Case(loss, batch, dim, classes, device=choose_device(device)).checked()
    check_variants([loss], variants)
    cases, chosen = precisions(case), choose_variants(case, variants, compiled=False)
    found: dict[str, dict[str, Sequence[Agreement] | str]] = {variant: {} for variant in chosen}
    worker = Worker(default_threads())
    try:
        # A precision at a time, whose oracle the worker keeps.
        with console(stderr=True).status(loss) as status:
            for precision, asked in cases.items():
                for variant in chosen:
                    status.update(f"{loss}: {variant}, {precision}")
                    found[variant][precision] = ask(worker, agreement_of, asked, variant)
            status.update(f"{loss}: drift")
            drifts = {variant: ask(worker, trajectory_of, case, variant) for variant in chosen}
    finally:
        worker.close()
    out = console()
    out.print(Text(f"{loss}  {case}", "bold"), agreement_table(found, drifts, every=every))
    out.print(Text(LEGEND, "dim"))
    for note in _notes(loss, found, drifts):
        out.print(Text(f"  {note}", "dim"))


def precisions(case: Case) -> dict[str, Case]:
    """Return the Case in each dtype, and under autocast to each that there is, by their names."""
    plain = {name: replace(case, dtype=name) for name in DTYPES}
    lowered = {
        f"{name} autocast": replace(case, dtype=name, autocast=True) for name in AUTOCAST_DTYPES
    }
    return {**plain, **lowered}


def agreement_of(case: Case, variant: str) -> tuple[Agreement, ...]:
    """Return the agreement of a variant by its name, as a worker is asked for it."""
    return measure_agreement(case, impls.implementation(case.loss, variant))


def trajectory_of(case: Case, variant: str) -> Trajectory:
    """Return the trajectory of a variant, at the trajectories' own size."""
    return measure_trajectory(case.loss, variant, case.device)


def ask(worker: Worker, question: Callable[[Case, str], T], case: Case, variant: str) -> T | str:
    """Return what a worker answers of a variant, or why there is no answer."""
    implementation = impls.implementation(case.loss, variant)
    reason = implementation.unsupported(case.device, case.held_dtype)
    if reason is not None:
        return f"unsupported: {reason}"
    try:
        return worker.ask(COMMAND_SECONDS, question, case, variant)
    except Lost as lost:
        return f"{lost.status}: {lost}"


def _notes(
    loss: str,
    found: Mapping[str, Mapping[str, Sequence[Agreement] | str]],
    drifts: Mapping[str, Trajectory | str],
) -> Iterator[str]:
    for variant, answers in found.items():
        departs = impls.implementation(loss, variant).departs
        if departs:
            yield f"{variant} departs: {departs}"
        for name, answer in {**answers, "drift": drifts[variant]}.items():
            if isinstance(answer, str):
                yield f"{variant}, {name}: {answer}"
