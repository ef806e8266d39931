"""Interleaved sampling: all callables timed in rounds of random order, until the ratio is known."""

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
    """When to stop, and in what order to go.

    Attributes:
        budget_seconds: after this no further round is begun, once there are six; after ten times
            this none at all.
        half_width: the relative half-width of every speed-up's interval that is narrow enough.
        seed: of the order within the rounds.
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

    Each round times one block of every callable, so that what disturbs the machine for longer than
    a round disturbs all alike, and it drops out of their ratio.

    Args:
        calls: what to time, by name.
        baseline: the name of the one that the others are held against.
        sampling: when to stop.
        resets: run before a block of that name, apart from the clock.
        device: where they compute, ``cpu`` or ``cuda``.
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
        # The intervals cost more than a short round: look at them ever more seldom.
        if rounds >= checks_at:
            if taken.narrow(sampling.half_width):
                break
            checks_at = math.ceil(1.25 * rounds)
    return taken.timings(usage.elsewhere())


@dataclass(frozen=True)
class _Taken:
    """What was sampled so far."""

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
        """Return whether every speed-up is known well enough."""
        return all(
            timing.speedup is not None and timing.speedup.half_width <= half_width
            for name, timing in self.timings().items()
            if name != self.baseline
        )


def _nothing() -> None:
    """Reset nothing."""
