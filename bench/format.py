"""Format figures and tables for the terminal and for text files."""

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO

import torch
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from lossbench import impls
from lossbench.bench.case.cases import DTYPES
from lossbench.bench.measure.conformance import Conformance
from lossbench.bench.measure.degenerate import DEGENERATE
from lossbench.bench.promises import Check
from lossbench.bench.timing.intervals import Interval
from lossbench.impls.compiled import eager_of
from lossbench.impls.registry import REFERENCE

LEAST_WIDTH = 160
OUTCOME_STYLES = {"holds": "green", "fails": "red", "too few trials to judge": "yellow"}


def console(*, stderr: bool = False) -> Console:
    """Return a console; that of standard output is wide enough for tables."""
    plain = Console(stderr=stderr)
    return plain if stderr else Console(width=max(plain.width, LEAST_WIDTH))


def plain_text(shown: RenderableType) -> str:
    """Return the printed text without colours, for a file."""
    text = StringIO()
    Console(file=text, width=LEAST_WIDTH).print(shown)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def figures_table(*columns: str) -> Table:
    """Return an empty table of figures; its first column is for names."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table


def words_table(*columns: str) -> Table:
    """Return an empty table of texts; only its last column wraps."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns, 1):
        table.add_column(name, no_wrap=number < len(columns))
    return table


def spread(interval: Interval) -> str:
    """Return a speed-up with its interval: ``3.21x [3.18, 3.25]``."""
    figures = (interval.median, interval.low, interval.high)
    median, low, high = (f"{x:.0f}" if x >= 1000 else f"{x:.3g}" for x in figures)
    return f"{median}x [{low}, {high}]"


def rounded(value: float) -> str:
    """Return two significant digits of a number that is known no better: ``2,200``."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 1 else f"{value:.2g}"


def factor(value: float) -> str:
    """Return a ratio to two significant digits: ``1.1``, ``3.0``, ``235``."""
    return f"{value:.1f}" if 1 <= value < 9.95 else rounded(value)


def duration(seconds: float) -> str:
    """Return a duration that is known roughly: ``40 s``, ``3 min``."""
    return f"{rounded(seconds)} s" if seconds < 100 else f"{rounded(seconds / 60)} min"


def si(value: float, unit: str) -> str:
    """Return three significant digits with an SI prefix: ``1.23 ms``."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value / 1e-9:.3g} n{unit}"


def binary(count: int) -> str:
    """Return bytes with a binary prefix: ``1.5 MiB``."""
    value = float(count)
    for prefix in ("", "Ki", "Mi"):
        if value < 1024:
            return f"{value:.0f} {prefix}B" if value >= 1000 else f"{value:.3g} {prefix}B"
        value /= 1024
    return f"{value:.3g} GiB"


def conformance_table(found: Mapping[str, Sequence[Conformance] | str]) -> Table:
    """Return the results of a Loss on degenerate inputs, with one column per variant.

    Args:
        found: results by variant, the reference first; or the reason why there are none.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("input")
    for variant in found:
        table.add_column(Text(variant))
    cells = {
        variant: {part.input: part for part in parts}
        for variant, parts in found.items()
        if not isinstance(parts, str)
    }
    for name, degenerate in DEGENERATE.items():
        row = [_grade(cells.get(variant, {}).get(name), variant) for variant in found]
        table.add_row(f"{name}: {degenerate.summary}", *row)
    return table


def _grade(part: Conformance | None, variant: str) -> Text:
    if part is None:
        return Text("-", "dim")
    if variant == REFERENCE:
        return Text(part.reference)
    reason = f": {part.reason}" if part.reason else ""
    return Text(part.grade + reason, {"better": "green", "worse": "red"}.get(part.grade, ""))


def checks_table(checks: Iterable[Check]) -> Table:
    """Return the table of promises, with the result of each check."""
    table = words_table("promise", "outcome", "found")
    for check in checks:
        outcome = Text(check.outcome, OUTCOME_STYLES[check.outcome])
        table.add_row(Text(check.promise), outcome, Text(check.found))
    return table


def losses_table() -> Table:
    """Return the table of losses: summary, variants, and which of them have ``+compile``."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("loss", "summary", "variants", "also with +compile"):
        table.add_column(name)
    for loss in impls.losses():
        implementations = impls.implementations(loss.name)
        eager = ", ".join(i.variant for i in implementations if not i.compiled)
        compiled = sorted({eager_of(i.variant) for i in implementations if i.compiled})
        table.add_row(loss.name, Text(loss.summary), eager, ", ".join(compiled))
    return table


def support_table(loss: str, devices: Iterable[str]) -> Table:
    """Return the table of dtypes that each variant of a Loss supports here, by device."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("variant")
    for device in devices:
        table.add_column(device)
    for implementation in impls.implementations(loss):
        table.add_row(
            Text(implementation.variant), *(_support(implementation, device) for device in devices)
        )
    return table


def _support(implementation: impls.Implementation, device: str) -> str:
    reasons = {n: implementation.unsupported(device, d) for n, d in DTYPES.items()}
    supported = [name for name, reason in reasons.items() if reason is None]
    if not supported:
        return f"unsupported: {implementation.unsupported(device, torch.float32)}"
    departs = f"; departs: {implementation.departs}" if implementation.departs else ""
    limits = "".join(f"; {name}: {why}" for name, why in implementation.limits.items())
    return ", ".join(supported) + departs + limits
