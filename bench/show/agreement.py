"""The table of ``agreement``: errors beside the reference's own error, by precision."""

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from lossbench.bench.measure.agreement import Agreement
from lossbench.bench.measure.trajectory import BATCH, CLASSES, DIM, STEPS, Trajectory

LEGEND = (
    "error: ‖v - v64‖ / ‖v64‖; below it the error of the worst element in ulps; in brackets the "
    f"reference's own; drift: error of the trained tensors after {STEPS} steps of SGD in float32, "
    f"{BATCH}x{DIM}, C={CLASSES}"
)


def agreement_table(
    found: Mapping[str, Mapping[str, Sequence[Agreement] | str]],
    trajectories: Mapping[str, Trajectory | str],
    *,
    every: bool,
) -> Table:
    """Return the errors of the variants of a Loss against float64, with one column per precision.

    Args:
        found: agreement by variant, the reference first, and by precision; or the reason why there
            is none.
        trajectories: trajectory by variant, or the reason why there is none.
        every: whether every quantity has a row; otherwise each cell has the quantity that is
            closest to its error budget.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("variant")
    for precision in next(iter(found.values())):
        table.add_column(precision.replace(" ", "\n"), vertical="top")
    table.add_column("drift")
    for variant, answers in found.items():
        drift = _drift(trajectories[variant])
        if not every:
            table.add_row(Text(variant), *map(_worst, answers.values()), drift)
            continue
        table.add_row(Text(variant, "bold"), *[""] * len(answers), drift)
        for quantity in _quantities(answers.values()):
            cells = (_of_quantity(answer, quantity) for answer in answers.values())
            table.add_row(f"  {quantity}", *cells, "")
    return table


def _quantities(answers: Iterable[Sequence[Agreement] | str]) -> list[str]:
    named = [part.quantity for parts in answers if not isinstance(parts, str) for part in parts]
    return list(dict.fromkeys(named))


def _of_quantity(answer: Sequence[Agreement] | str, quantity: str) -> Text:
    parts = () if isinstance(answer, str) else answer
    return next((_figures(part) for part in parts if part.quantity == quantity), Text("-", "dim"))


def _worst(answer: Sequence[Agreement] | str) -> Text:
    if isinstance(answer, str):
        return Text("-", "dim")
    worst = max(answer, key=lambda part: part.budget_share)
    return Text("\n").join((Text(worst.quantity, "dim"), _figures(worst)))


def _figures(part: Agreement) -> Text:
    ulps = f"{_count(part.ulps)} ({_count(part.reference_ulps)})"
    lines = [beside(part.error, part.reference_error), ulps]
    if not part.passed:
        lines.append("refused")
    return Text("\n".join(lines), "" if part.passed else "red")


def _drift(trajectory: Trajectory | str) -> Text:
    if isinstance(trajectory, str):
        return Text("-", "dim")
    cell = Text(beside(trajectory.drift, trajectory.reference_drift))
    if trajectory.parted is not None:
        cell.append(f"\nparts at {trajectory.parted}", "yellow")
    return cell


def beside(value: float, reference: float) -> str:
    """Return a figure with the reference's figure: ``2e-07 (1e-07)``."""
    return f"{value:.0e} ({reference:.0e})"


def _count(ulps: float) -> str:
    if ulps >= 1000:
        return f"{ulps:.0e}"
    return f"{ulps:.1f}" if ulps < 10 else f"{ulps:.0f}"
