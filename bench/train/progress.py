"""How a training is shown while it goes on: a bar on a terminal, a line a loss elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from bench.progress import progress_bar
from bench.table import console
from bench.train.records import Lesson
from bench.train.run import Watcher


@contextmanager
def watching(losses: int) -> Iterator[Watcher]:
    """Show a training of so many losses on the standard error, for as long as it lasts."""
    out = console(stderr=True)
    if not out.is_terminal:
        yield Lines(out, losses)
        return
    with progress_bar(out, "losses") as progress:
        yield Bar(progress, losses)


class Bar:
    """A progress bar over the losses."""

    def __init__(self, progress: Progress, total: int) -> None:
        """Draw on a progress display."""
        self._progress = progress
        self._task = progress.add_task("starting", total=total)

    def working(self, loss: str, task: str) -> None:
        """Show what is running."""
        self._progress.update(self._task, description=f"{loss}: {task}")

    def done(self, _lesson: Lesson) -> None:
        """Count a loss."""
        self._progress.advance(self._task)


class Lines:
    """A line a loss, with how far the training is."""

    def __init__(self, out: Console, total: int) -> None:
        """Print on a console."""
        self._out = out
        self._total = total
        self._done = 0

    def working(self, loss: str, task: str) -> None:
        """Print the loss when it is a new one, which the reference's training begins."""
        if task == "reference":
            self._out.print(f"[{self._done}/{self._total}] {loss}", markup=False, highlight=False)

    def done(self, _lesson: Lesson) -> None:
        """Count a loss."""
        self._done += 1
