"""Interleaved sampling: time all callables in rounds of random order until the ratios are known."""

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lossbench.bench.machine.conditions import Usage
from lossbench.bench.timing.blocks import LONGEST_BLOCK_SECONDS, blocks
from lossbench.bench.timing.clock import Clock, Timed, clock, gpu_megahertz, throttled
from lossbench.bench.timing.samples import Samples, Timing

HALF_WIDTH = 0.02
# Below six rounds no order statistics enclose the median with 95% confidence.
FEWEST_ROUNDS = 6
# With fewer rounds an interval may be narrow by chance, and says nothing about autocorrelation.
ROUNDS_BEFORE_STOP = 20


@dataclass(frozen=True)
class Sampling:
    """The rule to stop sampling, and the order of the samples.

    Attributes:
        budget_seconds: time after which no new round begins, if there are at least six rounds;
            after ten times this time no new round begins in any case.
        half_width: relative half-width of an interval that is narrow enough; sampling stops when
            the intervals of all speed-ups are that narrow, but not before 20 rounds.
        seed: seed of the order within the rounds.
    """

    budget_seconds: float
    half_width: float = HALF_WIDTH
    seed: int = 0

    def limit_seconds(self, rounds: int) -> float:
        """Return the time after which no round follows a number of rounds."""
        return (10 if rounds < FEWEST_ROUNDS else 1) * self.budget_seconds


def _nothing() -> None:
    """Do nothing between two rounds."""


def interleave(
    calls: Mapping[str, Timed],
    baseline: str,
    sampling: Sampling,
    device: str = "cpu",
    between: Callable[[], None] = _nothing,
) -> dict[str, Timing]:
    """Return the times of several callables of this process, as ``interleave_clocks`` does.

    Args:
        calls: callables to time, by name.
        baseline: name of the callable that the others are compared with.
        sampling: rule to stop, and seed of the order.
        device: device of the callables, ``cpu`` or ``cuda``.
        between: function to run after each round; its time does not count towards the budget.
    """
    clocks = {name: clock(timed, device) for name, timed in calls.items()}
    return interleave_clocks(clocks, baseline, sampling, device, between)


def interleave_clocks(
    clocks: Mapping[str, Clock],
    baseline: str,
    sampling: Sampling,
    device: str = "cpu",
    between: Callable[[], None] = _nothing,
    belonging: Sequence[int] = (),
) -> dict[str, Timing]:
    """Return the times of several callables, sampled in rounds of random order.

    Each round times one block of every callable, and the blocks of a round take about equally long.
    A disturbance of the machine that is longer than a round affects all of them equally, so it
    cancels in their ratio.

    Args:
        clocks: clock of each callable, by name.
        baseline: name of the callable that the others are compared with.
        sampling: rule to stop, and seed of the order.
        device: device of the callables, ``cpu`` or ``cuda``.
        between: function to run after each round; its time does not count towards the budget.
        belonging: numbers of other processes that compute in the callables.
    """
    longest = sampling.budget_seconds / (ROUNDS_BEFORE_STOP * len(clocks))
    sizes = blocks(clocks, baseline, max(LONGEST_BLOCK_SECONDS, longest))
    taken = _Taken(baseline, sizes, {name: [] for name in clocks})
    order = list(clocks)
    shuffle = random.Random(sampling.seed).shuffle
    elapsed, checks_at, usage = 0.0, ROUNDS_BEFORE_STOP, Usage(belonging)
    for rounds in range(1, 1_000_000):
        start = time.perf_counter()
        shuffle(order)
        for name in order:
            seconds = clocks[name].block_seconds(sizes[name]) / sizes[name]
            taken.samples[name].append(float(f"{seconds:.6g}"))
        taken.megahertz.append(gpu_megahertz(device))
        elapsed += time.perf_counter() - start
        between()
        if elapsed > sampling.limit_seconds(rounds):
            break
        # The intervals take longer than a short round, so they are computed less and less often.
        if rounds >= checks_at:
            if taken.narrow(sampling.half_width):
                break
            checks_at = math.ceil(1.25 * rounds)
    return taken.timings(usage.elsewhere())


@dataclass(frozen=True)
class _Taken:
    """The samples so far."""

    baseline: str
    blocks: Mapping[str, int]
    samples: Mapping[str, list[float]]
    megahertz: list[float] = field(default_factory=list)

    def timings(self, elsewhere: float = 0.0) -> dict[str, Timing]:
        beside = tuple(self.samples.get(self.baseline, ()))
        slow = throttled(self.megahertz)
        return {
            name: Timing((Samples(tuple(seconds), beside, self.blocks[name], elsewhere, slow),))
            for name, seconds in self.samples.items()
        }

    def narrow(self, half_width: float) -> bool:
        """Return whether the interval of every speed-up is narrow enough."""
        return all(
            timing.speedup is not None and timing.speedup.half_width <= half_width
            for name, timing in self.timings().items()
            if name != self.baseline
        )
