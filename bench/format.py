"""Format figures and tables for the terminal and for text files."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def narrow_width() -> int | None:
    """Return the width of a terminal that is too narrow for the widest tables; otherwise ``None``.

    A pipe counts as 80 columns wide, unless the variable COLUMNS gives another width.
    """
    width = Console().width
    return None if width >= LEAST_WIDTH else width


def fit(table: Table, spare: Iterable[str], width: int | None) -> list[str]:
    """Remove columns of a table until it fits a width, and return the removed ones.

    Args:
        table: table that may be too wide.
        spare: headings of the columns to remove, the first ones first.
        width: number of characters; ``None`` for no limit.
    """
    removed = list[str]()
    for name in spare:
        if width is None or width_of(table) <= width:
            break
        kept = [column for column in table.columns if str(column.header) != str(name)]
        removed += [name] * (len(kept) < len(table.columns))
        table.columns[:] = kept
    return removed


def width_of(table: Table) -> int:
    """Return the number of characters that a table takes if it is not folded."""
    return Console(width=10 * LEAST_WIDTH).measure(table).maximum


def removed_note(removed: Sequence[str]) -> Text:
    """Return the line that says which columns do not fit, and how to see them."""
    columns = ", ".join(name.replace("\n", " ") for name in removed)
    return Text(f"without {columns}: COLUMNS={LEAST_WIDTH} or --csv shows them", "dim")


def folded(line: str, width: int | None, indent: str = "  ") -> str:
    """Return a line broken between words, so that it fits a width; the rest is indented."""
    if width is None:
        return line
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


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
    """Return a speed-up with its interval, to three digits: ``3.21x [3.18, 3.25]``."""
    figures = (interval.median, interval.low, interval.high)
    median, low, high = (_three_digits(x) for x in figures)
    return f"{median}x [{low}, {high}]"


def _three_digits(value: float) -> str:
    short = f"{value:.3g}"
    return f"{float(short):.0f}" if value >= 1000 else short


def rounded(value: float) -> str:
    """Return two significant digits of a number that is known no better: ``2,200``."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 1 else f"{value:.2g}"


def factor(value: float) -> str:
    """Return a ratio to two digits, and near 1 to three: ``1.03``, ``1.1``, ``3.0``, ``240``."""
    if 1 <= value < 1.095:
        return f"{value:.2f}"
    return f"{value:.1f}" if 1 <= value < 9.95 else rounded(value)


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things: ``1 cell``, ``2 cells``; the plural of ``one`` has an s."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def duration(seconds: float) -> str:
    """Return a duration that is known roughly: ``40 s``, ``3 min``."""
    return f"{rounded(seconds)} s" if seconds < 100 else f"{rounded(seconds / 60)} min"


def si(value: float, unit: str) -> str:
    """Return three significant digits with an SI prefix: ``1.23 ms``."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value / 1e-9:.3g} n{unit}"


def binary(count: float) -> str:
    """Return bytes with a binary prefix: ``1.5 MiB``."""
    value = float(count)
    for prefix in ("", "Ki", "Mi", "Gi", "Ti"):
        if value < 1024:
            return f"{value:.0f} {prefix}B" if value >= 1000 else f"{value:.3g} {prefix}B"
        value /= 1024
    return f"{value:.3g} PiB"


def conformance_table(
    found: Mapping[str, Sequence[Conformance] | str], *, narrow: bool = False
) -> Table:
    """Return the results of a Loss on degenerate inputs, with one column per variant.

    Args:
        found: results by variant, the reference first; or the reason why there are none.
        narrow: whether to leave the summaries and the reasons to ``conformance_notes``.
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
        row = [_grade(cells.get(v, {}).get(name), v, narrow=narrow) for v in found]
        table.add_row(name if narrow else f"{name}: {degenerate.summary}", *row)
    return table


def conformance_notes(
    found: Mapping[str, Sequence[Conformance] | str], *, narrow: bool
) -> Iterator[str]:
    """Yield why variants have no results, and where a table is narrow what it leaves out."""
    for variant, parts in found.items():
        if isinstance(parts, str):
            yield f"{variant}: {parts}"
        elif narrow:
            words = ((part, _whole_grade(part, variant)) for part in parts)
            yield from (f"{variant}, {part.input}: {text}" for part, text in words if ":" in text)
    if narrow:
        yield from (f"{name}: {degenerate.summary}" for name, degenerate in DEGENERATE.items())


def _grade(part: Conformance | None, variant: str, *, narrow: bool) -> Text:
    if part is None:
        return Text("-", "dim")
    words = _whole_grade(part, variant)
    style = {"better": "green", "worse": "red"}.get(part.grade, "")
    return Text(words.partition(":")[0] if narrow else words, "" if variant == REFERENCE else style)


def _whole_grade(part: Conformance, variant: str) -> str:
    if variant == REFERENCE:
        return part.reference
    return f"{part.grade}: {part.reason}" if part.reason else part.grade


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
            Text(implementation.variant),
            *(support_text(implementation, device) for device in devices),
        )
    return table


def supported_dtypes(implementation: impls.Implementation, device: str) -> list[str]:
    """Return the names of the dtypes that an implementation supports here on a device."""
    return [n for n, d in DTYPES.items() if implementation.unsupported(device, d) is None]


def support_text(implementation: impls.Implementation, device: str) -> str:
    """Return the dtypes that an implementation supports here on a device, and its limits."""
    supported = supported_dtypes(implementation, device)
    if not supported:
        return f"unsupported: {implementation.unsupported(device, torch.float32)}"
    departs = f"; departs: {implementation.departs}" if implementation.departs else ""
    limits = "".join(f"; {name}: {why}" for name, why in implementation.limits.items())
    return ", ".join(supported) + departs + limits
