"""Show the progress of a run or a check: a bar or one line on a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from lossbench.bench.case.cases import Case
from lossbench.bench.format import console
from lossbench.bench.run.plan import RunPlan
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS, Record
from lossbench.bench.sweep.orders import SweepWatcher

WIDE = 120
"""The width of a terminal from which a description of usual length fits."""


@contextmanager
def watching(plan: RunPlan, folder: Path) -> Iterator[SweepWatcher]:
    """Show the progress of a run on standard error, as long as the run lasts."""
    cells = set(plan.cells)
    seen = {r.cell for r in read_records(folder)} if (folder / RECORDS).exists() else set()
    out = console(stderr=True)
    if not out.is_terminal:
        yield Lines(out, len(cells), len(cells & seen))
        return
    with progress_bar(out, "cells") as progress:
        yield Bar(progress, len(cells), len(cells & seen))


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Show progress: only the latest line on a terminal, every line elsewhere."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield lambda text: out.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    with out.status("starting") as status:
        yield lambda text: status.update(escape(text))


def progress_bar(out: Console, counted: str) -> Progress:
    """Return a progress bar that counts things of the given name, and vanishes at the end."""
    # On a narrow terminal the description is shortened, not the count and the time left.
    columns = (
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True)),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn(f"{counted}, left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=out, transient=True, expand=out.width < WIDE)


class Bar:
    """A progress bar over the cells of a run."""

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        """Draw on a progress display."""
        self._progress = progress
        self._task = progress.add_task("starting", total=total, completed=done)
        self._workers: dict[str, str] = {}

    def working(self, case: Case, task: str) -> None:
        """Show what is running."""
        self._progress.update(self._task, description=f"{case.loss} {case}: {task}")

    def measuring(self, worker: str, case: Case | None, task: str = "") -> None:
        """Show what each busy worker does, in a line of its own."""
        self._workers.pop(worker, None)
        if case is not None:
            self._workers[worker] = f"{worker}: {case.loss} {case}: {task}"
        lines = "\n".join(sorted(self._workers.values())) or "no worker is busy"
        self._progress.update(self._task, description=escape(lines))

    def noted(self, line: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False)

    def recorded(self, _record: Record) -> None:
        """Count a cell."""
        self._progress.advance(self._task)


class Lines:
    """A line per Case, with the progress of the run."""

    def __init__(self, out: Console, total: int, done: int) -> None:
        """Print on a console."""
        self._out = out
        self._total = total
        self._done = self._begun_at = done
        self._start = time.perf_counter()
        self._case: Case | None = None
        self._workers: dict[str, Case | None] = {}
        # The first worker can take many seconds to start.
        self._print("starting")

    def working(self, case: Case, _task: str) -> None:
        """Print the Case if it is a new one."""
        if case == self._case:
            return
        self._case = case
        self._print(f"{case.loss} {case}")

    def measuring(self, worker: str, case: Case | None, task: str = "") -> None:  # noqa: ARG002
        """Print the Case that a worker begins with."""
        if case is not None and case != self._workers.get(worker):
            self._print(f"{worker}: {case.loss} {case}")
        self._workers[worker] = case

    def noted(self, line: str) -> None:
        """Print a line."""
        self._print(line)

    def recorded(self, _record: Record) -> None:
        """Count a cell."""
        self._done += 1

    def _print(self, text: str) -> None:
        how_far = f"[{self._done}/{self._total}{self._left()}]"
        self._out.print(how_far, text, markup=False, highlight=False, soft_wrap=True)

    def _left(self) -> str:
        fresh = self._done - self._begun_at
        if not fresh:
            return ""
        seconds = (time.perf_counter() - self._start) / fresh * (self._total - self._done)
        return f", {seconds / 60:.0f} min left" if seconds > 90 else f", {seconds:.0f} s left"
