"""Workers that compute together: one process a rank, in one process group."""

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import torch

from lossbench.bench.machine.scratch import ScratchFolder
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.ranks.group import joined_ranks
from lossbench.impls.sharded.ranks import Ranks

P = ParamSpec("P")
T = TypeVar("T")
START_SECONDS = 60.0


class Meeting(NamedTuple):
    """How ranks find each other.

    Attributes:
        ranks: the number of ranks.
        path: the path of a file that does not exist yet.
        seconds: the time to wait for another rank.
    """

    ranks: int
    path: str
    seconds: float


class RankWorkers:
    """As many workers as ranks; a question that one of them cannot answer ends all of them."""

    def __init__(self, count: int, make: Callable[[], Worker]) -> None:
        """Set the number of ranks.

        Args:
            count: the number of ranks.
            make: a function that returns a worker that has not started.
        """
        self._workers = [make() for _ in range(count)]
        self._started = False

    def start(self) -> None:
        """Start the workers that do not run, one after the other.

        Raises:
            Lost: if one does not start; the reason names its rank.
        """
        if self._started:
            return
        for rank, worker in enumerate(self._workers):
            try:
                worker.ask(START_SECONDS, torch.get_num_threads)
            except Lost as lost:
                self.close()
                raise self._named(rank, lost) from None
        self._started = True

    def ask(
        self,
        timeout: float,
        question: Callable[Concatenate[Ranks, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> list[T]:
        """Call a function in every worker, with its ranks and the same arguments.

        Returns:
            The values of all ranks, in their order.

        Raises:
            Lost: if a worker does not start, or one gives no answer within ``timeout`` seconds, as
                when it waits for another rank. All are then ended.
        """
        self.start()
        count, folder = len(self._workers), ScratchFolder()
        # A worker that waits for another longer than the question may take is stopped with it.
        meeting = Meeting(count, str(folder.path / "meeting"), 2 * timeout)

        def ask_rank(rank: int) -> T:
            try:
                return self._workers[rank].ask(
                    timeout, _answer_of_rank, rank, meeting, question, args, kwargs
                )
            except Lost as lost:
                raise self._named(rank, lost) from None

        pool = ThreadPoolExecutor(count)
        try:
            asked = [pool.submit(ask_rank, rank) for rank in range(count)]
            ended, _ = wait(asked, return_when=FIRST_EXCEPTION)
            # Raises the error of one that failed, if there is one.
            answers = {each: each.result() for each in ended}
            return [answers[each] for each in asked]
        except BaseException:
            # The others wait for the one that failed.
            self.close()
            raise
        finally:
            pool.shutdown()
            folder.remove()

    def close(self) -> None:
        """End the processes; the next question starts others."""
        self._started = False
        for worker in self._workers:
            worker.close()

    def _named(self, rank: int, lost: Lost) -> Lost:
        return Lost(lost.status, f"rank {rank} of {len(self._workers)}: {lost}")


def _answer_of_rank(
    rank: int, meeting: Meeting, question: Callable[..., T], args: Any, kwargs: Mapping[str, Any]
) -> T:
    with joined_ranks(rank, meeting.ranks, meeting.path, meeting.seconds) as ranks:
        return question(ranks, *args, **kwargs)
