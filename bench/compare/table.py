"""Print the changes between two measurements as tables, or return them as plain data."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossbench.bench.case.cases import Case
from lossbench.bench.compare.comparison import BYTES, CELL, ERRORS, KINDS, SPEEDUP, Comparison
from lossbench.bench.compare.doubts import SIDES
from lossbench.bench.format import counted, folded, si, spread, width_of
from lossbench.bench.frame.columns import CASE_COLUMNS
from lossbench.bench.frame.plain import plain
from lossbench.bench.marks import FEW_PROCESSES, OF_THE_VARIANT, marks_of, signs
from lossbench.bench.metric import Metric
from lossbench.bench.run.order import UNREGISTERED, is_registered
from lossbench.bench.timing.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS = 50


def verdict(found: Comparison) -> str:
    """Return the verdict in a line: how many cells changed in each way, of how many."""
    both = counted(int((found.cells["side"] == "both").sum()), "cell")
    counts = {kind: int(found.cells[kind].sum()) for kind in KINDS}
    alone = [
        f"; {counted(count, 'cell')} only in the {side}"
        for side, kind in (("first", "vanished"), ("second", "appeared"))
        if (count := counts.pop(kind))
    ]
    changes = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    times = "" if found.machines else "; times are not compared: the machines differ"
    return f"{changes or 'nothing changed'}, of {both} in both{''.join(alone)}{times}"


def verdict_line(found: Comparison, names: tuple[str, str], width: int | None = None) -> Text:
    """Return the names of the second and the first measurement, and the verdict."""
    head = f"{names[1]} against {names[0]}"
    line = Text(folded(f"{head}: {verdict(found)}", width))
    line.stylize("bold", 0, len(head))
    return line


def changes_table(found: Comparison, names: tuple[str, str], width: int | None = None) -> Group:
    """Return the verdict, one table per kind of change, and the share of intervals that overlap.

    Args:
        found: comparison to print.
        names: names of the first and of the second measurement.
        width: number of characters that a line may have; ``None`` for no limit. A narrow table
            shows the case and the variant in one column.
    """
    blocks: list[RenderableType] = [verdict_line(found, names, width), ""]
    for kind, words in KINDS.items():
        rows = found.cells[found.cells[kind]]
        if len(rows):
            title = Text(folded(f"{kind}, {len(rows)}: {words}", width))
            title.stylize("bold", 0, len(kind))
            blocks += [title]
            blocks += [
                _counts(rows)
                if kind in ("vanished", "appeared")
                else _table(kind, rows, names, width)
            ]
            blocks += [""]
    blocks += [f"different environments: {line}" for line in _differences(found)]
    blocks += [f"left out: {line}" for line in found.left_out]
    blocks += [f"doubtful: {line}" for line in found.notes]
    timed = found.timed
    if not found.machines:
        blocks += ["measured on different machines, so times and speed-ups are not compared:"]
        blocks += [_side_by_side(timed, names, width)]
    elif len(timed):
        count = int(found.overlapping.sum())
        share = count / len(timed)
        blocks += [f"the intervals of {count} of {len(timed)} cells overlap: {share:.1%}"]
    every = found.cells.to_dict("records")
    blocks += map(str, marks_of(_of_side(row, side) for row in every for side in SIDES))
    return Group(*(folded(each, width) if isinstance(each, str) else each for each in blocks))


def _table(
    kind: str, rows: "pd.DataFrame", names: tuple[str, str], width: int | None
) -> RenderableType:
    """Return one row per cell, with the figure that the kind of change is about on either side."""
    about = {
        "slower": _speedup, "faster": _speedup, "bigger": _bytes, "smaller": _bytes,
        "less-exact": _error, "more-exact": _error,
    }.get(kind, _status)  # fmt: skip
    timed = about is _speedup
    table = _headed("case", "variant", *names, *["second over first"] * timed)
    for row in _rows(rows):
        ratio = _interval(row, "ratio", "") if timed else None
        table.add_row(
            *_cell(row), *(about(row, side) for side in SIDES), *([spread(ratio)] if ratio else [])
        )
    return _narrowed(_with_rest(table, rows), width)


def _narrowed(table: Table, width: int | None) -> RenderableType:
    """Return a table that is too wide as a block of lines for each row."""
    if width is None or width_of(table) <= width:
        return table
    headings = [str(column.header) for column in table.columns]
    lines = list[str]()
    for cells in zip(*(column.cells for column in table.columns), strict=False):
        case, variant, *figures = map(str, cells)
        lines.append(folded(f"  {case}  {variant}", width, " " * 4))
        named = zip(headings[2:], figures, strict=False)
        lines += [
            folded(f"    {name}: {figure}", width, " " * 6) for name, figure in named if figure
        ]
    return Text("\n".join(lines))


def _side_by_side(
    rows: "pd.DataFrame", names: tuple[str, str], width: int | None
) -> RenderableType:
    table = _headed(
        "case", "variant", *(f"{name}: {what}" for what in ("step", "speed-up") for name in names)
    )
    for row in _rows(rows):
        times = (f"{si(row[f'step_seconds_{side}'], 's')}{_sign(row, side)}" for side in SIDES)
        table.add_row(*_cell(row), *times, *(_speedup(row, side) for side in SIDES))
    return _narrowed(_with_rest(table, rows), width)


def _differences(found: Comparison) -> Iterator[str]:
    """Yield the differences of the environments, which may explain the changes."""
    both = found.cells[found.cells["side"] == "both"]
    for name in ("torch", "threads", "cpu", "gpu"):
        first, second = (
            ", ".join(sorted(map(str, both[f"{name}_{side}"].dropna().unique()))) for side in SIDES
        )
        if first != second:
            yield f"{name} is {first or 'none'} and {second or 'none'}"


def _counts(rows: "pd.DataFrame") -> Table:
    """Return the number of cells of each Loss and variant."""
    table = _headed("loss", "variant", "cells")
    counts = rows.groupby(["loss", "variant"], sort=False).size().reset_index(name="cells")
    for loss, variant, count in counts.head(MOST_CELLS).itertuples(index=False):
        table.add_row(str(loss), _variant(loss, variant), str(count))
    return _with_rest(table, counts)


def _headed(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table


def _with_rest(table: Table, rows: "pd.DataFrame") -> Table:
    if len(rows) > MOST_CELLS:
        table.add_row(Text(f"and {len(rows) - MOST_CELLS} more; --json prints all", "dim"))
    return table


def _rows(rows: "pd.DataFrame") -> Iterator[dict[Any, Any]]:
    yield from rows.head(MOST_CELLS).to_dict("records")


def _cell(row: dict[str, Any]) -> tuple[Text, Text]:
    case = Case(**{name: row[name] for name in CASE_COLUMNS})
    return Text(f"{case.loss} {case}"), _variant(case.loss, row["variant"])


def _variant(loss: str, variant: str) -> Text:
    return Text(variant if is_registered(loss, variant) else f"{variant} ({UNREGISTERED})")


def _interval(row: dict[str, Any], name: str, side: str) -> Interval:
    return Interval(*(float(row[f"{name}{end}{side}"]) for end in ("", "_low", "_high")))


def _speedup(row: dict[str, Any], side: str) -> str:
    marks = signs(_of_side(row, side))
    return spread(_interval(row, SPEEDUP, f"_{side}")) + marks


def _bytes(row: dict[str, Any], side: str) -> str:
    return _worded(BYTES, row, side)


def _error(row: dict[str, Any], side: str) -> str:
    return _worded(ERRORS, row, side)


def _worded(metrics: Iterable[Metric], row: dict[str, Any], side: str) -> str:
    """Return the figures of one side as text, each with its name."""
    import pandas as pd

    worded = ((metric, row[f"{metric.name}_{side}"]) for metric in metrics)
    texts = (f"{m.label} {m.words(v)}" for m, v in worded if not pd.isna(v))
    return ", ".join(texts) + _sign(row, side)


def _status(row: dict[str, Any], side: str) -> str:
    reason = row[f"reason_{side}"]
    status = f"{row[f'status_{side}']}{_sign(row, side)}"
    return f"{status}{f': {reason}' if isinstance(reason, str) and reason else ''}"


def _sign(row: dict[str, Any], side: str) -> str:
    return signs(_of_side(row, side), OF_THE_VARIANT)


def _of_side(row: Mapping[Any, Any], side: str) -> dict[str, Any]:
    columns = (mark.column for mark in (*OF_THE_VARIANT, FEW_PROCESSES))
    return {column: row[f"{column}_{side}"] for column in columns}


def as_plain(found: Comparison) -> dict[str, Any]:
    """Return the comparison as data for JSON: every changed cell, with its kinds of change."""
    cells = found.cells
    both = [str(name) for name in cells if str(name).endswith(("_first", "_second"))]
    changed = cells[cells[list(KINDS)].any(axis=1)]
    return {
        "machines": sorted(found.machines),
        "left_out": list(found.left_out),
        "doubts": list(found.notes),
        "cells_in_both": int((cells["side"] == "both").sum()),
        "cells_timed_in_both": len(found.timed),
        "intervals_that_overlap": int(found.overlapping.sum()),
        "changes": [
            {
                "kinds": [kind for kind in KINDS if row[kind]],
                **{name: plain(row[name]) for name in (*CELL, *both)},
                **{name: plain(row[name]) for name in ("ratio", "ratio_low", "ratio_high")},
            }
            for row in changed.to_dict("records")
        ],
    }
