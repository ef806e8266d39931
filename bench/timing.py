"""Times, taken in interleaved rounds, and what can be said of their ratio."""

import math
import random
import time
import timeit
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Literal

import numpy as np
import torch.utils.benchmark
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

Verdict = Literal["faster", "slower", "same", "unclear"]

SAME_MARGIN = 0.02
HALF_WIDTH = 0.02
# Long enough that the clock's own time, about 0.1 µs, is below a ten-thousandth of a block.
BLOCK_SECONDS = 2e-3
# Short enough that a state which a step shrinks, such as a decaying centre, stays a normal number.
MOST_CALLS = 100
# A call that is not steady by then is noisy by nature, or too slow to wait for.
LONGEST_WARM_UP_SECONDS = 0.3
# Below six rounds no order statistics enclose the median with 95% confidence.
FEWEST_ROUNDS = 6


@dataclass(frozen=True)
class Interval:
    """A median with its 95% confidence interval."""

    median: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of its length, relative to the median on a log scale."""
        return math.log(self.high / self.low) / 2 if self.low > 0 else math.inf


@dataclass(frozen=True)
class Timing:
    """The samples of one implementation in one phase, beside the reference's of the same rounds.

    Attributes:
        seconds: of one call, a sample each round.
        reference_seconds: the reference's in the same rounds; empty where it was not measured.
        calls: how many calls a sample averages.
    """

    seconds: tuple[float, ...]
    reference_seconds: tuple[float, ...]
    calls: int

    def __post_init__(self) -> None:
        """Refuse samples that were not taken in pairs."""
        if self.reference_seconds and len(self.seconds) != len(self.reference_seconds):
            raise ValueError(
                f"expected a reference sample for each of {len(self.seconds)}, "
                f"got {len(self.reference_seconds)}"
            )

    @cached_property
    def median_seconds(self) -> float:
        """The median time of one call."""
        return float(np.median(self.seconds))

    @cached_property
    def speedup(self) -> Interval | None:
        """The reference's time over this one's, above 1 where this is faster."""
        if not self.reference_seconds:
            return None
        logs = np.log(self.reference_seconds) - np.log(self.seconds)
        center, low, high = (math.exp(x) for x in median_interval(logs))
        return Interval(center, low, high)

    @property
    def verdict(self) -> Verdict:
        """What the speed-up says: ``same`` where all of its interval is within 2% of 1."""
        if self.speedup is None:
            return "unclear"
        low, high = self.speedup.low, self.speedup.high
        if low >= 1 / (1 + SAME_MARGIN) and high <= 1 + SAME_MARGIN:
            return "same"
        if low > 1:
            return "faster"
        return "slower" if high < 1 else "unclear"


def median_interval(samples: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the median of samples in time order, and its 95% confidence interval.

    The interval lies between two order statistics, whose ranks come from the binomial number of
    independent samples below a median: it is exact, asks nothing of the distribution, and keeps
    outliers. On a shared machine neighbours are alike, so that n samples tell no more than n / τ
    independent ones; τ is estimated from the signs of the deviations from the median, and the ranks
    are those of n / τ samples, stretched to n. Where these are below six no ranks enclose the
    median with 95% confidence, and the interval is infinite. Under drift it covers less than it
    says: at 60 samples of a first-order autocorrelation of 0.6, about 91%.
    """
    from scipy.stats import binom

    count, median = len(samples), float(np.median(samples))
    independent = int(count / _samples_worth_one(samples - median))
    rank = int(binom.ppf(0.025, independent, 0.5))
    if rank < 1:
        return median, -math.inf, math.inf
    outer = max(rank * count // independent, 1) - 1
    ordered = np.sort(samples)
    return median, float(ordered[outer]), float(ordered[count - 1 - outer])


def _samples_worth_one(deviations: NDArray[np.float64]) -> float:
    """Return ``τ = 1 + 2 Σ ρ_k``, ρ_k the signs' autocorrelation, summed while it is positive."""
    signs = np.sign(deviations)
    tau = 1.0
    for lag in range(1, len(signs) // 4):
        rho = float(np.mean(signs[lag:] * signs[:-lag]))
        if rho <= 0:
            break
        tau += 2 * rho
    return tau


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
) -> dict[str, Timing]:
    """Return the times of several callables, sampled in rounds of random order.

    Each round times one block of every callable, so that what disturbs the machine for longer than
    a round disturbs all alike, and it drops out of their ratio.

    Args:
        calls: what to time, by name.
        baseline: the name of the one that the others are held against.
        sampling: when to stop.
        resets: run before a block of that name, apart from the clock.
    """
    timers = {name: _timer(call) for name, call in calls.items()}
    blocks = {name: _calls_a_block(timer) for name, timer in timers.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(sampling.seed).shuffle
    start, checks_at = time.perf_counter(), FEWEST_ROUNDS
    for rounds in range(1, 1_000_000):
        shuffle(order)
        for name in order:
            (resets or {}).get(name, _nothing)()
            seconds = timers[name].timeit(blocks[name]) / blocks[name]
            samples[name].append(float(f"{seconds:.6g}"))
        elapsed = time.perf_counter() - start
        if elapsed > 10 * sampling.budget_seconds:
            break
        if rounds < FEWEST_ROUNDS:
            continue
        if elapsed > sampling.budget_seconds:
            break
        # The intervals cost more than a short round: look at them ever more seldom.
        if rounds >= checks_at:
            if _narrow(samples, baseline, blocks, sampling.half_width):
                break
            checks_at = math.ceil(1.25 * rounds)
    return _timings(samples, baseline, blocks)


def _timings(
    samples: Mapping[str, list[float]], baseline: str, blocks: Mapping[str, int]
) -> dict[str, Timing]:
    beside = tuple(samples.get(baseline, ()))
    return {name: Timing(tuple(taken), beside, blocks[name]) for name, taken in samples.items()}


def _narrow(
    samples: Mapping[str, list[float]], baseline: str, blocks: Mapping[str, int], width: float
) -> bool:
    timings = _timings(samples, baseline, blocks)
    return all(
        timing.speedup is not None and timing.speedup.half_width <= width
        for name, timing in timings.items()
        if name != baseline
    )


def _timer(call: Callable[[], object]) -> timeit.Timer:
    # torch's clock waits for CUDA before it reads the time.
    return timeit.Timer(call, timer=torch.utils.benchmark.timer)


def _calls_a_block(timer: timeit.Timer) -> int:
    """Warm up until three blocks agree, and return how many calls fill a block."""
    calls, seconds = 1, list[float]()
    start = time.perf_counter()
    while True:
        seconds.append(timer.timeit(calls) / calls)
        # The fastest, since a disturbed block would make all later ones too short.
        fastest = min(seconds[-3:])
        wanted = max(1, min(MOST_CALLS, math.ceil(BLOCK_SECONDS / fastest)))
        steady = len(seconds) > 3 and max(seconds[-3:]) < 1.2 * fastest and 2 * calls >= wanted
        if steady or time.perf_counter() - start > LONGEST_WARM_UP_SECONDS:
            return wanted
        calls = min(wanted, 2 * calls + 8)


def _nothing() -> None:
    """Reset nothing."""
