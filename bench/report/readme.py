"""Write what runs found, and the meaning of columns, into a file written by hand otherwise."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbench.bench.choose.answer import Answer
from lossbench.bench.choose.sources import load_records
from lossbench.bench.errors import UsageError
from lossbench.bench.format import binary, si
from lossbench.bench.frame import load
from lossbench.bench.marks import FEW_PROCESSES, OF_THE_VARIANT, signs
from lossbench.bench.report.findings import winners
from lossbench.bench.report.legend import COLUMNS, SYMBOLS
from lossbench.bench.report.order import ordered
from lossbench.bench.report.summary import (
    answers_at,
    answers_picture,
    answers_text,
    choose_part,
    picture_text,
)
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    import pandas as pd

# A first mark names what its part is made from, so that it can be renewed without naming it again.
_PART = re.compile(
    r"<!-- (?P<name>winners|answers|picture|choose): (?P<words>.+) -->\n"
    r".*?<!-- end of (?P=name) -->\n",
    re.DOTALL,
)
_SIZE = re.compile(r"(\d+)x(\d+)x(\d+)")
_COLUMNS = re.compile(r"<!-- columns -->\n.*?<!-- end of columns -->\n", re.DOTALL)


def renew(path: Path, runs: tuple[Path, ...] = ()) -> None:
    """Write the parts of a file that stand between marks, and the pictures that they show.

    Args:
        path: file with parts between lines ``<!-- NAME: WORDS -->`` and ``<!-- end of NAME -->``:

            - ``winners: RUN ...``: the fastest variant of each case; paths are relative to the
              file's folder, and ``RUN@64x128x10`` stands for the cases of one size;
            - ``answers: RUN@64x128x10``: table of what ``choose`` recommends at that size;
            - ``picture: RUN@64x128x10 FILE [ADDRESS]``: the same as an SVG file, which the text
              shows by its address;
            - ``choose: RUN LOSS BATCHxDIMxCLASSES``: an answer of ``choose`` as it is printed;
            - ``<!-- columns -->`` and ``<!-- end of columns -->``: the meaning of each column.
        runs: runs for ``winners``; by default those that the file names.

    Raises:
        UsageError: if the file cannot be read or has no such lines, or a run cannot be read.
    """
    try:
        text, pictures = renewed(path, runs)
        path.write_text(text)
        for picture, drawn in pictures.items():
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_text(drawn)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a file to renew") from error


def renewed(path: Path, runs: tuple[Path, ...] = ()) -> tuple[str, dict[Path, str]]:
    """Return the text of a file with the parts between its marks renewed, and its pictures.

    Raises:
        OSError: if the file cannot be read.
        UsageError: if the file has no marks, or a run cannot be read.
    """
    text = path.read_text()
    if _PART.search(text) is None:
        raise UsageError(
            f"{path}: expected the lines <!-- winners: RUN ... --> and <!-- end of winners -->, "
            "found none"
        )
    pictures: dict[Path, str] = {}

    def part(found: re.Match[str]) -> str:
        words = found["words"].split()
        if found["name"] == "winners":
            words = [os.path.relpath(run, path.parent) for run in runs] or words
            body = "".join(_section(name, path.parent / name) for name in words)
        elif found["name"] == "answers":
            body = answers_text(_answers(path.parent, words[0]))
        elif found["name"] == "picture":
            answers = _answers(path.parent, words[0])
            pictures[path.parent / words[1]] = answers_picture(answers)
            body = picture_text(answers, words[-1])
        else:
            body = choose_part(load_records([path.parent / words[0]]), words[1], _size(words[2]))
        name = found["name"]
        return f"<!-- {name}: {' '.join(words)} -->\n\n{body}<!-- end of {name} -->\n"

    return _COLUMNS.sub(lambda _: columns_part(), _PART.sub(part, text)), pictures


def _answers(folder: Path, name: str) -> list[Answer]:
    run, _, size = name.partition("@")
    return answers_at(load_records([folder / run]), _size(size))


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
    batch, dim, classes = _size(text)
    found = frame[(frame["batch"] == batch) & (frame["dim"] == dim) & (frame["classes"] == classes)]
    if found.empty:
        raise UsageError(f"{name}: the run has no case of that size")
    return found


def _size(text: str) -> tuple[int, int, int]:
    """Return batch, dim and classes.

    Raises:
        UsageError: if the text is no size.
    """
    size = _SIZE.fullmatch(text)
    if size is None:
        raise UsageError(f"{text!r}: expected batch, dim and classes, as in 64x128x10")
    batch, dim, classes = map(int, size.groups())
    return batch, dim, classes


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
