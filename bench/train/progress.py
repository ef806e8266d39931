"""How a training is shown while it goes on: a bar on a terminal, a line a loss elsewhere."""

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
    """Show a training of so many losses on the standard error, for as long as it lasts."""
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
        """Show what is running."""
        self._progress.update(self._task, description=f"{loss}: {task}")

    def done(self, _lesson: Lesson) -> None:
        """Count a loss."""
        self._progress.advance(self._task)


class TrainingLines:
    """A line a loss, with how far the training is."""

    def __init__(self, out: Console, total: int) -> None:
        """Print on a console."""
        self._out = out
        self._total = total
        self._done = 0

    def working(self, loss: str, task: str) -> None:
        """Print the loss when it is a new one, which the reference's training begins."""
        if task == REFERENCE:
            self._out.print(f"[{self._done}/{self._total}] {loss}", markup=False, highlight=False)

    def done(self, _lesson: Lesson) -> None:
        """Count a loss."""
        self._done += 1
