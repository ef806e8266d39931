"""``agreement``: print the errors of implementations relative to float64."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

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
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.format import console, fit, folded, narrow_width, removed_note
from lossbench.bench.limits import COMMAND_SECONDS
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.measure.agreement import Agreement, measure_agreement
from lossbench.bench.measure.trajectory import Trajectory, measure_trajectory
from lossbench.bench.run.plan import check_variants, choose_device, choose_variants
from lossbench.bench.show.agreement import LEGEND, agreement_table

T = TypeVar("T")
# The precisions that a narrow table leaves out first; most users train in the others.
SPARE = ("float16\nautocast", "float16", "float64", "bfloat16\nautocast", "bfloat16")


@click.command()
@loss_argument
@variants_option
@size_options(batch=64, dim=128, classes=10)
@click.option(
    "--all", "every", is_flag=True,
    help="Print every output and gradient; by default only that closest to its error budget.",
)  # fmt: skip
@with_option
@device_option
@form_options
def agreement(
    loss: str,
    variants: tuple[str, ...],
    batch: int,
    dim: int,
    classes: int,
    every: bool,
    device: str,
) -> None:
    """Print the relative error of each implementation of LOSS against the reference in float64.

    Errors are measured in every dtype, with and without autocast, and after 50 steps of SGD.
    The reference's own error in the same dtype is printed beside each. `+compile` variants are
    included only if --variant names them.
    """
    case = Case(loss, batch, dim, classes, device=choose_device(device)).checked()
    check_variants([loss], variants)
    cases, chosen = precisions(case), choose_variants(case, variants, compiled=False)
    found: dict[str, dict[str, Sequence[Agreement] | str]] = {variant: {} for variant in chosen}
    worker = Worker(default_threads())
    try:
        # One precision at a time, because the worker caches the oracle of one precision.
        with console(stderr=True).status(loss) as status:
            for precision, asked in cases.items():
                for variant in chosen:
                    status.update(f"{loss}: {variant}, {precision}")
                    found[variant][precision] = ask(worker, agreement_of, asked, variant)
            status.update(f"{loss}: drift")
            drifts = {variant: ask(worker, trajectory_of, case, variant) for variant in chosen}
    finally:
        worker.close()
    if asked_form():
        print_rows(_rows(case, found, drifts))
        return
    out, width = console(), narrow_width()
    table = agreement_table(found, drifts, every=every)
    removed = fit(table, SPARE, width)
    out.print(Text(f"{loss}  {case}", "bold"), table)
    out.print(Text(folded(LEGEND, width), "dim"))
    for note in _notes(loss, found, drifts):
        out.print(Text(folded(f"  {note}", width, " " * 4), "dim"), soft_wrap=True)
    if removed:
        out.print(removed_note(removed))


def _rows(
    case: Case,
    found: Mapping[str, Mapping[str, Sequence[Agreement] | str]],
    drifts: Mapping[str, Trajectory | str],
) -> Iterator[dict[str, Any]]:
    """Yield a row for each quantity of each variant and precision, and for each drift."""
    sizes = {"loss": case.loss, "batch": case.batch, "dim": case.dim, "classes": case.classes}
    for variant, answers in found.items():
        for precision, answer in answers.items():
            cell = {**sizes, "variant": variant, "precision": precision}
            if isinstance(answer, str):
                yield {**cell, "reason": answer}
                continue
            for part in answer:
                yield {
                    **cell,
                    "quantity": part.quantity,
                    "passed": part.passed,
                    "error": part.error,
                    "reference_error": part.reference_error,
                    "budget_share": part.budget_share,
                    "ulps": part.ulps,
                    "reference_ulps": part.reference_ulps,
                }
    for variant, drift in drifts.items():
        cell = {**sizes, "variant": variant, "precision": "float32", "quantity": "drift"}
        if isinstance(drift, str):
            yield {**cell, "reason": drift}
        else:
            yield {**cell, "error": drift.drift, "reference_error": drift.reference_drift}


def precisions(case: Case) -> dict[str, Case]:
    """Return the Case in each dtype, and under autocast to each lower dtype, by name."""
    plain = {name: replace(case, dtype=name) for name in DTYPES}
    lowered = {
        f"{name} autocast": replace(case, dtype=name, autocast=True) for name in AUTOCAST_DTYPES
    }
    return {**plain, **lowered}


def agreement_of(case: Case, variant: str) -> tuple[Agreement, ...]:
    """Return the agreement of a variant; a worker calls this by name."""
    return measure_agreement(case, impls.implementation(case.loss, variant))


def trajectory_of(case: Case, variant: str) -> Trajectory:
    """Return the trajectory of a variant; its size is fixed, and is not that of the Case."""
    return measure_trajectory(case.loss, variant, case.device)


def ask(worker: Worker, question: Callable[[Case, str], T], case: Case, variant: str) -> T | str:
    """Return a worker's answer about a variant, or the reason why there is none."""
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
