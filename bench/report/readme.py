"""Write the winners of runs, and the meaning of columns, into a file written by hand otherwise."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbench.bench.errors import UsageError
from lossbench.bench.format import binary, si
from lossbench.bench.frame import load
from lossbench.bench.marks import FEW_PROCESSES, OF_THE_VARIANT, signs
from lossbench.bench.report.findings import winners
from lossbench.bench.report.legend import COLUMNS, SYMBOLS
from lossbench.bench.report.order import ordered
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    import pandas as pd

# The first mark names the runs, so that the part can be renewed without naming them again.
_PART = re.compile(r"<!-- winners: (?P<runs>.+) -->\n.*?<!-- end of winners -->\n", re.DOTALL)
_SIZE = re.compile(r"(\d+)x(\d+)x(\d+)")
_COLUMNS = re.compile(r"<!-- columns -->\n.*?<!-- end of columns -->\n", re.DOTALL)


def renew(path: Path, runs: tuple[Path, ...] = ()) -> None:
    """Write the winners of runs, and the meaning of columns, between the marks of a file.

    Args:
        path: file with a line ``<!-- winners: RUN ... -->``, where runs are paths relative to its
            folder, and a later line ``<!-- end of winners -->``; to have the columns explained,
            also with the lines ``<!-- columns -->`` and ``<!-- end of columns -->``.
        runs: runs to use; by default those that the file names. ``RUN@64x128x10`` stands for the
            cases of a run with B=64, D=128 and C=10.

    Raises:
        UsageError: if the file cannot be read or has no such lines, or a run cannot be read.
    """
    try:
        path.write_text(renewed(path, runs))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a file to renew") from error


def renewed(path: Path, runs: tuple[Path, ...] = ()) -> str:
    """Return the text of a file with the parts between its marks renewed.

    Raises:
        OSError: if the file cannot be read.
        UsageError: if the file has no marks, or a run cannot be read.
    """
    text = path.read_text()
    found = _PART.search(text)
    if found is None:
        raise UsageError(
            f"{path}: expected the lines <!-- winners: RUN ... --> and <!-- end of winners -->, "
            "found none"
        )
    named = [os.path.relpath(run, path.parent) for run in runs]
    names = named or found["runs"].split()
    parts = [_section(name, path.parent / name) for name in names]
    part = f"<!-- winners: {' '.join(names)} -->\n\n{''.join(parts)}<!-- end of winners -->\n"
    text = text[: found.start()] + part + text[found.end() :]
    return _COLUMNS.sub(lambda _: columns_part(), text)


def columns_part() -> str:
    """Return the table of what the columns mean, with its marks."""
    rows = "".join(f"| {heading} | {meaning} |\n" for heading, meaning in COLUMNS.items())
    return (
        "<!-- columns -->\n\n"
        f"| column | meaning |\n| --- | --- |\n{rows}\n"
        "<!-- end of columns -->\n"
    )


def _section(name: str, run: Path) -> str:
    frame = _at_size(ordered(load(run.with_name(run.name.partition("@")[0]))), run.name)
    found = winners(frame).to_dict("records")
    rows = "".join(map(_row, found))
    # Winners may have no mark where a variant that is as fast, or takes less memory, has one.
    marks = [mark for mark in (*OF_THE_VARIANT, FEW_PROCESSES) if mark.sign in rows]
    note = "".join(f"`{mark.sign}` {mark.meaning}.\n\n" for mark in marks)
    return (
        f"### {name}\n\n{note}"
        "| loss | case | fastest | speed-up [95%] | verdict | step | as fast | least peak |\n"
        f"| --- | --- | --- | --- | --- | --- | --- | --- |\n{rows}\n"
    )


def _at_size(frame: "pd.DataFrame", name: str) -> "pd.DataFrame":
    """Return the rows at the size after the ``@`` of a run's name; without one, all rows.

    Raises:
        UsageError: if that is no size, or the run has none of its cases.
    """
    _, at, text = name.partition("@")
    if not at:
        return frame
    size = _SIZE.fullmatch(text)
    if size is None:
        raise UsageError(f"{name}: expected batch, dim and classes after @, as in @64x128x10")
    batch, dim, classes = map(int, size.groups())
    found = frame[(frame["batch"] == batch) & (frame["dim"] == dim) & (frame["classes"] == classes)]
    if found.empty:
        raise UsageError(f"{name}: the run has no case of that size")
    return found


def _row(row: dict[Any, Any]) -> str:
    speedup = "1"
    if row["variant"] != REFERENCE:
        figures = (row[f"step_speedup{end}"] for end in ("", "_low", "_high"))
        mark = signs(row, [FEW_PROCESSES])
        speedup = "{:.3g}x [{:.3g}, {:.3g}]".format(*figures) + mark
    cells = (
        row["loss"],
        f"{row['size']}, {row['precision']}, {row['device']}, {row['data']}",
        f"`{row['name']}`",
        speedup,
        f"{SYMBOLS[row['verdict']]} {row['verdict']}",
        si(row["step_seconds"], "s"),
        row["rivals"],
        f"`{row['leanest']}` {binary(row['leanest_bytes'])}",
    )
    return f"| {' | '.join(cells)} |\n"
