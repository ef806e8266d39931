"""The tables of ``scaling``: exponents, and the largest batches."""

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from lossbench.bench.case.cases import Case
from lossbench.bench.format import binary
from lossbench.bench.scaling.largest import LargestBatch
from lossbench.bench.scaling.laws import AXES, PowerLaw, Scaling

NARROW_NAME = 24
TITLES = {
    "step_seconds": "step time",
    "step_peak_bytes": "step peak above inputs",
    "saved_bytes": "saved for backward",
}


def exponent_tables(
    sweeps: Mapping[str, Sequence[Case]], found: Iterable[Scaling], *, narrow: bool = False
) -> Iterable[Table]:
    """Yield one table per quantity, with one row per variant and one column per axis.

    Args:
        sweeps: Cases of each axis.
        found: fitted exponents.
        narrow: whether to leave out the standard errors, so that 80 columns suffice.
    """
    by_cell = {(entry.variant, entry.axis): entry for entry in found}
    variants = dict.fromkeys(variant for variant, _ in by_cell)
    for quantity, title in TITLES.items():
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(title, min_width=NARROW_NAME if narrow else 40)
        for axis, cases in sweeps.items():
            first, last = (getattr(case, axis) for case in (cases[0], cases[-1]))
            table.add_column(f"{AXES[axis]} = {first} ... {last}", min_width=0 if narrow else 26)
        for variant in variants:
            laws = ((axis, by_cell[variant, axis].laws.get(quantity)) for axis in sweeps)
            cells = (exponent(axis, law, narrow=narrow) for axis, law in laws)
            table.add_row(Text(f"  {variant}"), *cells)
        yield table


def exponent(axis: str, law: PowerLaw | None, *, narrow: bool = False) -> str:
    """Return a law as text, with the last exponent: ``B^1.87 ± 0.04 → 1.98``."""
    if law is None:
        return "-"
    if narrow:
        return f"{AXES[axis]}^{law.exponent:z.2f} → {law.last:z.2f}"
    return f"{AXES[axis]}^{law.exponent:z.2f} ± {law.standard_error:.2f} → {law.last:z.2f}"


def largest_table(largest: Iterable[LargestBatch], *, narrow: bool = False) -> Table:
    """Return the table of the largest batches, predicted and tried."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("largest batch", min_width=NARROW_NAME if narrow else 40)
    for name in ("memory", "predicted", "ran", "did not fit"):
        table.add_column(name, justify="right")
    for entry in largest:
        found = ("-" if batch is None else str(batch) for batch in (entry.ran, entry.did_not))
        table.add_row(
            Text(f"  {entry.variant}"), binary(entry.memory_bytes), str(entry.predicted), *found
        )
    return table


def notes(found: Iterable[Scaling], largest: Iterable[LargestBatch]) -> Iterable[str]:
    """Return the reasons for missing entries, each once."""
    lines = [f"  {entry.variant}: {entry.reason}" for entry in found if entry.reason]
    lines += [f"  {entry.variant}: {entry.reason}" for entry in largest if entry.reason]
    lines += [
        f"  {entry.variant}: {trial.status} at B={trial.batch}: {trial.reason}"
        for entry in largest
        for trial in entry.trials
        if trial.status not in ("ran", "oom")
    ]
    return dict.fromkeys(lines)
