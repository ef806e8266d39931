"""Show the progress of a training: a bar on a terminal, one line per loss elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from lossbench.bench.format import console
from lossbench.bench.show.progress import progress_bar
from lossbench.bench.train.records import Lesson
from lossbench.bench.train.run import TrainWatcher
from lossbench.impls.registry import REFERENCE


@contextmanager
def watching_training(losses: int) -> Iterator[TrainWatcher]:
    """Show the progress of a training on standard error.

    Args:
        losses: number of losses to train.
    """
    out = console(stderr=True)
    if not out.is_terminal:
        yield TrainingLines(out, losses)
        return
    with progress_bar(out, "losses") as progress:
        yield TrainingBar(progress, losses)


class TrainingBar:
    """A progress bar over the losses."""

    def __init__(self, progress: Progress, total: int) -> None:
        """Draw on a progress display."""
        self._progress = progress
        self._task = progress.add_task("starting", total=total)

    def working(self, loss: str, task: str) -> None:
        """Show the loss and its current task."""
        self._progress.update(self._task, description=f"{loss}: {task}")

    def done(self, _lesson: Lesson) -> None:
        """Advance the bar by one loss."""
        self._progress.advance(self._task)


class TrainingLines:
    """One line per loss, with the number of losses that are done."""

    def __init__(self, out: Console, total: int) -> None:
        """Print on a console."""
        self._out = out
        self._total = total
        self._done = 0

    def working(self, loss: str, task: str) -> None:
        """Print a line at the first task of each loss, which trains the reference."""
        if task == REFERENCE:
            self._out.print(f"[{self._done}/{self._total}] {loss}", markup=False, highlight=False)

    def done(self, _lesson: Lesson) -> None:
        """Count one more loss as done."""
        self._done += 1
