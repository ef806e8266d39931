"""Write a report to a folder, completely or not at all."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lossbench.bench.choose.sources import Host
from lossbench.bench.collector import paused_collector
from lossbench.bench.errors import UsageError, writing
from lossbench.bench.limits import DRAWING_SECONDS
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.report.data import load_evidence
from lossbench.bench.report.gallery import Plot, draw
from lossbench.bench.report.page import render

if TYPE_CHECKING:
    import pandas as pd

PAGE, CELLS, PLOTS = "index.html", "cells.csv", "plots"
MANY_ROWS = 20_000
MARK = '<meta name="generator" content="lossbench">'


@paused_collector()
def write_report(runs: Sequence[Path], folder: Path) -> Path:
    """Write the report of runs to a folder: the page, the plots, and a file of all cells.

    Everything is first written to a scratch folder and then moved, the page last. An older report
    is replaced.

    Args:
        runs: runs to report, or folders that hold some.
        folder: folder of the report.

    Returns:
        The path of the page.

    Raises:
        UsageError: if the runs hold nothing to read, if the folder holds something other than a
            report, if it cannot be written, or if the plots cannot be drawn.
    """
    _refuse_other(folder)
    # CUDA's records stand beside the CPU's; those of this machine come first on either device.
    evidence = load_evidence(runs, Host.of(current_environment(), "cpu"))
    with writing(folder):
        # Drawing the plots takes long, so a folder that cannot be made is reported before that.
        folder.mkdir(parents=True, exist_ok=True)
    with (
        writing(folder),
        TemporaryDirectory(dir=folder, prefix=".half-") as name,
        _drawing(evidence.frame) as plots,
    ):
        half = Path(name)
        evidence.frame.drop(columns=["label", "case", "name"]).to_csv(half / CELLS, index=False)
        (half / PAGE).write_text(render(evidence))
        (half / PLOTS).mkdir()
        for plot in plots():
            (half / PLOTS / f"{plot.name}.svg").write_text(plot.svg)
            (half / PLOTS / f"{plot.name}.png").write_bytes(plot.png)
        shutil.rmtree(folder / PLOTS, ignore_errors=True)
        for part in (PLOTS, CELLS, PAGE):
            os.replace(half / part, folder / part)
    return folder / PAGE


@contextmanager
def _drawing(frame: "pd.DataFrame") -> Iterator[Callable[[], list[Plot]]]:
    """Yield the function that returns the plots of a frame.

    The plots of a large frame are drawn meanwhile by another process; of a small one they take less
    time than its start.
    """
    if len(frame) < MANY_ROWS:
        yield partial(draw, frame)
        return
    # If the block raises, the worker is ended first, so that the thread waits for nothing.
    with ThreadPoolExecutor(1) as pool, closing(Worker(1)) as worker:
        try:
            yield pool.submit(worker.ask, DRAWING_SECONDS, draw, frame).result
        except Lost as lost:
            raise UsageError(f"the plots could not be drawn: {lost}") from lost


def _refuse_other(folder: Path) -> None:
    """Refuse a folder in which the report would replace files of something else."""
    page = folder / PAGE
    ours = page.is_file() and MARK in page.read_text(errors="replace")[:2000]
    there = [part for part in (PAGE, CELLS, PLOTS) if (folder / part).exists()]
    if there and not ours:
        raise UsageError(
            f"{folder} holds {', '.join(there)}, which no report wrote; choose another --out"
        )
