"""Writing a report: whole, or not at all."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lossbench.bench.errors import UsageError, writing
from lossbench.bench.report.data import load_evidence
from lossbench.bench.report.gallery import draw
from lossbench.bench.report.page import render

PAGE, CELLS, PLOTS = "index.html", "cells.csv", "plots"
MARK = '<meta name="generator" content="lossbench">'


def write_report(runs: Sequence[Path], folder: Path) -> Path:
    """Write the page of runs to a folder, and beside it its plots and a file of all cells.

    Each is written elsewhere first and then put in place, the page last; an older report is
    replaced.

    Returns:
        The page.

    Raises:
        UsageError: where the runs hold nothing that can be read, or the folder holds something
            other than a report, or cannot be written.
    """
    _refuse_other(folder)
    evidence = load_evidence(runs)
    with writing(folder):
        # Before the plots, which take their time.
        folder.mkdir(parents=True, exist_ok=True)
    plots = draw(evidence.frame)
    with writing(folder), TemporaryDirectory(dir=folder, prefix=".half-") as name:
        half = Path(name)
        (half / PLOTS).mkdir()
        for plot in plots:
            (half / PLOTS / f"{plot.name}.svg").write_text(plot.svg)
            (half / PLOTS / f"{plot.name}.png").write_bytes(plot.png)
        evidence.frame.drop(columns=["label", "case"]).to_csv(half / CELLS, index=False)
        (half / PAGE).write_text(render(evidence, plots))
        shutil.rmtree(folder / PLOTS, ignore_errors=True)
        for part in (PLOTS, CELLS, PAGE):
            os.replace(half / part, folder / part)
    return folder / PAGE


def _refuse_other(folder: Path) -> None:
    """Refuse a folder in which a report would replace what is none."""
    page = folder / PAGE
    ours = page.is_file() and MARK in page.read_text(errors="replace")[:2000]
    there = [part for part in (PAGE, CELLS, PLOTS) if (folder / part).exists()]
    if there and not ours:
        raise UsageError(f"{folder} holds {', '.join(there)}, of no report; choose another --out")
