"""Ask worker processes what a trainee does, so that a crash costs one cell of the matrix."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count

import torch

from lossbench.bench.limits import SITUATION_SECONDS
from lossbench.bench.machine.compiler import start_compiler
from lossbench.bench.machine.process import START_SECONDS
from lossbench.bench.machine.scratch import ScratchFolder
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
from lossbench.bench.training_loop.processes import PROCESSES, Rank
from lossbench.bench.training_loop.situation import LoopFinding, Situation, attempt, find, judge
from lossbench.bench.training_loop.trainee import Trainee


class LoopWorkers:
    """The processes that try situations: the first alone, or all of them together."""

    def __init__(self) -> None:
        self._workers = [Worker(1) for _ in range(PROCESSES)]
        self._meetings = ScratchFolder()
        self._numbers = count()

    def ask(self, trainee: Trainee, situation: Situation) -> LoopFinding:
        """Return what a trainee does in a situation, a lost worker's reason included."""
        together = situation.processes > 1
        try:
            if together:
                return self._ask_together(trainee, situation)
            return self._workers[0].ask(SITUATION_SECONDS, find_named, trainee, situation.name)
        except Lost as lost:
            # No limit excuses it: the process, and not the implementation, gave the answer.
            return LoopFinding(situation.name, "worse", f"{lost.status}: {lost}")

    def _ask_together(self, trainee: Trainee, situation: Situation) -> LoopFinding:
        """Return the finding of the first rank that fails, or that all are right."""
        if not situation.applies(trainee):
            return LoopFinding(situation.name, "-")
        for worker in self._workers:
            # A process ends with the thread that started it, so that this one must start all.
            worker.ask(START_SECONDS, int)
        meeting = str(self._meetings.path / str(next(self._numbers)))
        ask_rank = partial(self._ask_rank, trainee, situation, meeting)
        with ThreadPoolExecutor(PROCESSES) as threads:
            errors = list(threads.map(ask_rank, range(PROCESSES)))
        # An assertion of one rank is what the others, which then wait in vain, complain about.
        errors.sort(key=lambda error: (not error, not error.startswith("AssertionError")))
        return judge(situation, trainee, errors[0])

    def _ask_rank(self, trainee: Trainee, situation: Situation, meeting: str, index: int) -> str:
        worker, rank = self._workers[index], Rank(index, meeting)
        return worker.ask(SITUATION_SECONDS, attempt_named, trainee, situation.name, rank)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()
        self._meetings.remove()


@contextmanager
def loop_workers() -> Iterator[LoopWorkers]:
    """Give workers, and end them."""
    workers = LoopWorkers()
    try:
        yield workers
    finally:
        workers.close()


def find_named(trainee: Trainee, name: str) -> LoopFinding:
    """Return what a trainee does in a situation, as a worker is asked for it."""
    _prepare(trainee)
    return find(LOOP_SITUATIONS[name], trainee)


def attempt_named(trainee: Trainee, name: str, rank: Rank) -> str:
    """Return the error of one rank in a situation, as a worker is asked for it."""
    _prepare(trainee)
    return attempt(LOOP_SITUATIONS[name], trainee, rank)


def _prepare(trainee: Trainee) -> None:
    """Start the compiler where it is needed, so that the trainee is not blamed for its changes.

    The compiler forgets the code of the situations before, as in a process of the trainee's own.
    """
    if trainee.implementation.compiled:
        start_compiler()
        torch.compiler.reset()
