"""Interleaved sampling: time all callables in rounds of random order until the ratios are known."""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lossbench.bench.machine.conditions import Usage
from lossbench.bench.timing.clock import blocks, clock, gpu_megahertz, throttled
from lossbench.bench.timing.samples import Samples, Timing

HALF_WIDTH = 0.02
# Below six rounds no order statistics enclose the median with 95% confidence.
FEWEST_ROUNDS = 6


@dataclass(frozen=True)
class Sampling:
    """The rule to stop sampling, and the order of the samples.

    Attributes:
        budget_seconds: time after which no new round begins, if there are at least six rounds;
            after ten times this time no new round begins in any case.
        half_width: relative half-width of an interval that is narrow enough; sampling stops when
            the intervals of all speed-ups are that narrow.
        seed: seed of the order within the rounds.
    """

    budget_seconds: float
    half_width: float = HALF_WIDTH
    seed: int = 0


def interleave(
    calls: Mapping[str, Callable[[], object]],
    baseline: str,
    sampling: Sampling,
    resets: Mapping[str, Callable[[], None]] | None = None,
    device: str = "cpu",
) -> dict[str, Timing]:
    """Return the times of several callables, sampled in rounds of random order.

    Each round times one block of every callable. A disturbance of the machine that is longer than a
    round affects all of them equally, so it cancels in their ratio.

    Args:
        calls: callables to time, by name.
        baseline: name of the callable that the others are compared with.
        sampling: rule to stop, and seed of the order.
        resets: functions to run before each block, outside the timed region, by the same names.
        device: device of the callables, ``cpu`` or ``cuda``.
    """
    clocks = {name: clock(call, device) for name, call in calls.items()}
    taken = _Taken(baseline, blocks(clocks, baseline), {name: [] for name in calls})
    order = list(calls)
    shuffle = random.Random(sampling.seed).shuffle
    start, checks_at, usage = time.perf_counter(), FEWEST_ROUNDS, Usage()
    for rounds in range(1, 1_000_000):
        shuffle(order)
        for name in order:
            (resets or {}).get(name, _nothing)()
            seconds = clocks[name].block_seconds(taken.blocks[name]) / taken.blocks[name]
            taken.samples[name].append(float(f"{seconds:.6g}"))
        taken.megahertz.append(gpu_megahertz(device))
        elapsed = time.perf_counter() - start
        if elapsed > 10 * sampling.budget_seconds:
            break
        if rounds < FEWEST_ROUNDS:
            continue
        if elapsed > sampling.budget_seconds:
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


def _nothing() -> None:
    """Reset nothing; the default for a callable without a reset."""
