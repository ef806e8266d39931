"""Confidence intervals of a median: over the rounds of a process, and over processes."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


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


def ratio_interval(processes: Sequence[NDArray[np.float64]]) -> Interval:
    """Return the interval of a ratio, from its logarithms in each round of each process.

    For one process the interval is ``median_interval``. The memory layout of a process biases all
    of its times, and more rounds do not average that out. So with several processes each median is
    one independent observation, and the interval is Student's interval over these medians. A few
    medians may lie close together by chance, so the interval is widened to contain the interval of
    all rounds, taken as one series after subtracting each process's median.

    Args:
        processes: one array per process with the logarithm of the ratio in each round.
    """
    medians = np.array([statistics.median(logs.tolist()) for logs in processes])
    within = np.concatenate([logs - own for logs, own in zip(processes, medians, strict=True)])
    _, low, high = float(np.mean(medians)) + np.array(median_interval(within))
    if len(processes) > 1:
        between = _student_interval(medians)
        low, high = min(low, between[0]), max(high, between[1])
    median = statistics.median(np.concatenate(processes).tolist())
    return Interval(*(math.exp(x) for x in (median, min(low, median), max(high, median))))


def median_interval(samples: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the median of samples in time order, and its 95% confidence interval.

    The interval lies between two order statistics. The number of independent samples below a median
    is binomial, which gives their ranks. So the interval is exact, assumes no distribution, and
    keeps outliers. On a shared machine neighbouring samples are similar, and n samples are worth
    only n / τ independent ones. τ is estimated from the signs of the deviations from the median;
    the ranks are those of n / τ samples, scaled to n. With fewer than six independent samples no
    ranks enclose the median with 95% confidence, and the interval is infinite. Under drift the
    coverage is lower than 95%: about 91% for 60 samples with a first-order autocorrelation of 0.6.
    """
    count, median = len(samples), statistics.median(samples.tolist())
    independent = int(count / _samples_worth_one(samples - median))
    rank = _rank(independent)
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
        rho = float(signs[lag:] @ signs[:-lag]) / (len(signs) - lag)
        if rho <= 0:
            break
        tau += 2 * rho
    return tau


def _student_interval(medians: NDArray[np.float64]) -> tuple[float, float]:
    """Return the interval of the mean of independent, roughly normal observations."""
    center, count = float(np.mean(medians)), len(medians)
    reach = _student_quantile(count - 1) * float(np.std(medians, ddof=1)) / math.sqrt(count)
    return center - reach, center + reach


# Thousands of records share few counts of samples, so the results are cached.
@cache
def _rank(samples: int) -> int:
    """Return the number of independent samples that lie below the interval of their median.

    Args:
        samples: number of all independent samples.
    """
    from scipy.stats import binom

    return int(binom.ppf((1 - CONFIDENCE) / 2, samples, 0.5))


@cache
def _student_quantile(degrees: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, degrees))
