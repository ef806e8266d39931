"""Simulate noisy rounds, and count how often the 95% interval contains the true ratio."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass as plain_dataclass
from itertools import product
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from lossbench.bench.promises import Share
from lossbench.bench.stamped import KEPT
from lossbench.bench.timing.intervals import ratio_interval
from lossbench.bench.timing.samples import FEWEST_PROCESSES

LEAST_COVERED = 0.93
"""The promised coverage: a little below 95%, since every estimate from few rounds is uncertain."""

SCALE = 0.02
"""The standard deviation of the logarithm of a ratio from round to round, and that of the bias of
a process if there are several. Coverage does not depend on it, and widths are proportional to it.
"""

ROUNDS = (20, 60, 200)
PROCESSES = (1, FEWEST_PROCESSES)
TRIALS = 1000
SEED = 2024
SLOW_SHARE = 1 / 3
SLOW_SHIFT = 3.0

Generator = np.random.Generator
Series = NDArray[np.float64]


@dataclass(frozen=True, config=KEPT)
class Coverage:
    """The coverage of the interval for one kind of noise.

    Attributes:
        noise: name of the noise.
        rounds: number of rounds of each process.
        processes: number of processes; several have biases of their own.
        covered: number of trials in which the interval contained the true ratio.
        trials: number of trials.
        half_width: mean relative half-width of the intervals.
        promised: whether the coverage is promised.
    """

    noise: str
    rounds: int
    processes: int
    covered: int
    trials: int
    half_width: float
    promised: bool

    @property
    def share(self) -> Share:
        """The share of trials in which the interval contained the true ratio."""
        return Share(self.covered, self.trials)

    @property
    def right(self) -> bool:
        """Whether the coverage is as high as promised."""
        return not self.promised or self.share.value >= LEAST_COVERED


@plain_dataclass(frozen=True)
class Noise:
    """A kind of noise with standard deviation 1, or scale 1 if it has none.

    Attributes:
        name: name in the table.
        draw: function of a generator, a number of series and a number of rounds; returns the
            series, one per row.
        median: true median.
        processes: smallest number of processes for which the coverage is promised.
    """

    name: str
    draw: Callable[[Generator, int, int], Series]
    median: float = 0.0
    processes: int = 1


def _normal(generator: Generator, series: int, rounds: int) -> Series:
    return generator.standard_normal((series, rounds))


def _heavy(generator: Generator, series: int, rounds: int) -> Series:
    return generator.standard_t(2, (series, rounds))


def _drifting(memory: float) -> Callable[[Generator, int, int], Series]:
    """Return the first-order autoregressive noise with an autocorrelation of ``memory``."""

    def draw(generator: Generator, series: int, rounds: int) -> Series:
        noise = generator.standard_normal((series, rounds))
        for at in range(1, rounds):
            noise[:, at] = memory * noise[:, at - 1] + math.sqrt(1 - memory**2) * noise[:, at]
        return noise

    return draw


def _switching(cycles: float) -> Callable[[Generator, int, int], Series]:
    """Return noise with a slow state for a third of the time, entered ``cycles`` times on average.

    The time in a state is random, and does not depend on the past.
    """

    def draw(generator: Generator, series: int, rounds: int) -> Series:
        slow_rounds = max(rounds * SLOW_SHARE / cycles, 1.0)
        leave = {True: 1 / slow_rounds, False: SLOW_SHARE / (1 - SLOW_SHARE) / slow_rounds}
        slow = np.empty((series, rounds), dtype=bool)
        slow[:, 0] = generator.random(series) < SLOW_SHARE
        for at in range(1, rounds):
            before = slow[:, at - 1]
            chance = np.where(before, leave[True], leave[False])
            slow[:, at] = before ^ (generator.random(series) < chance)
        return generator.standard_normal((series, rounds)) + SLOW_SHIFT * slow

    return draw


def _switching_median() -> float:
    """Return the true median of the noise with two states."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    def below(x: float) -> float:
        slow = SLOW_SHARE * norm.cdf(x - SLOW_SHIFT)
        return float((1 - SLOW_SHARE) * norm.cdf(x) + slow - 0.5)

    return float(brentq(below, 0, SLOW_SHIFT))


def noises() -> tuple[Noise, ...]:
    """Return the kinds of noise.

    With two slow spells in a process its rounds cannot tell how often they come; other processes
    can. So this noise promises nothing for one process.
    """
    median = _switching_median()
    return (
        Noise("independent, normal", _normal),
        Noise("independent, Student's t with 2 degrees of freedom", _heavy),
        Noise("autocorrelation 0.3", _drifting(0.3)),
        Noise("autocorrelation 0.6", _drifting(0.6)),
        Noise("a fast and a slow state, 8 slow spells per process", _switching(8), median),
        Noise(
            "a fast and a slow state, 2 slow spells per process",
            _switching(2),
            median,
            FEWEST_PROCESSES,
        ),
    )


def measure_coverage(trials: int = TRIALS) -> Iterator[Coverage]:
    """Yield the coverage for every kind of noise, number of rounds and number of processes.

    Args:
        trials: number of simulated measurements of each.
    """
    for noise, rounds, processes in product(noises(), ROUNDS, PROCESSES):
        yield _cover(noise, rounds, processes, trials)


def _cover(noise: Noise, rounds: int, processes: int, trials: int) -> Coverage:
    generator = np.random.default_rng((SEED, rounds, processes))
    logs = noise.draw(generator, trials * processes, rounds) - noise.median
    if processes > 1:
        logs += generator.standard_normal((trials * processes, 1))
    samples = (SCALE * logs).reshape(trials, processes, rounds)
    intervals = [ratio_interval(list(trial)) for trial in samples]
    return Coverage(
        noise=noise.name,
        rounds=rounds,
        processes=processes,
        covered=sum(each.low <= 1 <= each.high for each in intervals),
        trials=trials,
        half_width=float(f"{fmean(each.half_width for each in intervals):.4g}"),
        promised=processes >= noise.processes,
    )
