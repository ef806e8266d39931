"""The table of the operators of profiled steps."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lossbench.bench.format import binary, si
from lossbench.bench.profile.recording import Operator
from lossbench.bench.profile.trace import short_name


def operator_table(operators: Sequence[Operator], steps: int, rows: int, *, device: bool) -> Table:
    """Return a table of the operators with the most time of their own, the others, and the total.

    Args:
        operators: all operators, the one with the most time of its own first.
        steps: number of steps over which they are added up; the table shows figures per step.
        rows: number of operators with a row of their own.
        device: whether to show the time of kernels too.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("operator", max_width=72, no_wrap=True, overflow="ellipsis")
    for name in ("calls", "self", "share", "with callees", "self memory", "kernels")[: 5 + device]:
        table.add_column(name, justify="right")
    total, rest = summed("all", operators), operators[rows:]
    others = [summed(f"{len(rest)} others", rest)] if rest else []
    for row in (*operators[:rows], *others, total):
        cells = _cells(row, steps, total.self_seconds)[: 5 + device]
        table.add_row(Text(short_name(row.name)), *cells, style="bold" if row is total else "")
    return table


def _cells(row: Operator, steps: int, total_seconds: float) -> list[str]:
    return [
        f"{row.calls / steps:g}",
        si(row.self_seconds / steps, "s"),
        f"{row.self_seconds / total_seconds:.1%}",
        si(row.total_seconds / steps, "s") if row.total_seconds else "",
        _signed(round(row.self_bytes / steps)),
        si(row.device_seconds / steps, "s"),
    ]


def summed(name: str, operators: Sequence[Operator]) -> Operator:
    """Return the sum of several operators, without ``total_seconds``, which overlap."""
    return Operator(
        name=name,
        calls=sum(row.calls for row in operators),
        self_seconds=sum(row.self_seconds for row in operators),
        total_seconds=0.0,
        device_seconds=sum(row.device_seconds for row in operators),
        self_bytes=sum(row.self_bytes for row in operators),
    )


def _signed(count: int) -> str:
    return f"-{binary(-count)}" if count < 0 else binary(count)
