"""Time calls that all ranks make together: rank 0 leads, and the slowest rank counts.

Before each call the ranks wait for each other at a barrier, outside the timed region. The time of a
call is that of the rank that takes longest.
"""

import os
from collections.abc import Sequence

import torch
import torch.distributed as dist

from lossbench.bench.timing.clock import CpuClock, Timed
from lossbench.impls.sharded.ranks import Ranks


class Pace:
    """The callables of one rank, which all ranks call at the same time.

    Attributes:
        others: numbers of the processes of the other ranks.
    """

    def __init__(self, timed: Sequence[Timed], ranks: Ranks) -> None:
        """Take the callables, in the order that they have on every rank."""
        self._ranks = ranks
        numbers = torch.zeros(ranks.count, dtype=torch.int64)
        numbers[ranks.index] = os.getpid()
        dist.all_reduce(numbers, group=ranks.group)
        self.others = [number for number in numbers.tolist() if number != os.getpid()]
        self._clocks = [CpuClock(self._behind_barrier(each)) for each in timed]

    def _behind_barrier(self, timed: Timed) -> Timed:
        def prepare() -> None:
            timed.prepare()
            dist.barrier(self._ranks.group)

        return Timed(timed.call, prepare, timed.keep)

    def lead(self, number: int, calls: int) -> float:
        """Let all ranks make calls of one callable, and return the time of them in seconds."""
        self._order(number, calls)
        return self._call(number, calls)

    def follow(self) -> None:
        """Make the calls that rank 0 leads, until it ends."""
        while True:
            number, calls = self._order()
            if not calls:
                return
            self._call(number, calls)

    def end(self) -> None:
        """Let the other ranks go on with what follows."""
        self._order()

    def _order(self, number: int = 0, calls: int = 0) -> tuple[int, int]:
        order = torch.tensor((number, calls))
        dist.broadcast(order, group=self._ranks.group, group_src=0)
        number, calls = order.tolist()
        return number, calls

    def _call(self, number: int, calls: int) -> float:
        clock = self._clocks[number]
        seconds = torch.tensor([clock.block_seconds(1) for _ in range(calls)], dtype=torch.float64)
        dist.all_reduce(seconds, dist.ReduceOp.MAX, self._ranks.group)
        return float(seconds.sum())


class LeadingClock:
    """Rank 0's clock of one callable."""

    def __init__(self, pace: Pace, number: int) -> None:
        """Lead the calls of one of the callables."""
        self._pace, self._number = pace, number

    def block_seconds(self, calls: int) -> float:
        """Return the time of a number of calls together, in seconds, on the slowest rank."""
        return self._pace.lead(self._number, calls)
