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

    def is_near_one(self, margin: float) -> bool:
        """Return whether the whole interval of a ratio lies within a relative margin of 1."""
        return self.low >= 1 / (1 + margin) and self.high <= 1 + margin


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
    center = float(medians.sum()) / len(medians)
    _, low, high = (center + end for end in median_interval(within))
    if len(processes) > 1:
        between = _student_interval(medians)
        low, high = min(low, between[0]), max(high, between[1])
    median = statistics.median(np.concatenate(processes).tolist())
    return Interval(*(math.exp(x) for x in (median, min(low, median), max(high, median))))


def median_interval(samples: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the median of samples in time order, and its 95% confidence interval.

    The interval lies between two order statistics. The number of independent samples below a median
    is binomial, which gives their ranks, so the interval assumes no distribution and keeps
    outliers. On a shared machine neighbouring samples are similar, and n samples are worth only
    n / τ independent ones; the ranks are those of n / τ samples, scaled to n. Six independent
    samples enclose the median with 95% confidence. If there are fewer, the interval is the range of
    all samples; of fewer than six samples it is infinite. `lossbench selftest` prints the coverage
    for several kinds of noise.
    """
    median = statistics.median(samples.tolist())
    return median, _lower_end(samples, median), -_lower_end(-samples, -median)


def _lower_end(samples: NDArray[np.float64], median: float) -> float:
    """Return the lower end of the interval of a median.

    If the machine switches between a fast and a slow state, the samples about the median may seem
    independent while those about the end follow the states. So the end moves outward until its
    rank suits the autocorrelation of the samples about itself.
    """
    ordered, count = np.sort(samples), len(samples)
    if _rank(count) < 1:
        return -math.inf
    end, rank = median, count
    while rank > 1:
        independent = max(int(count / _samples_worth_one(samples - end)), 1)
        outer = max(_rank(independent) * count // independent, 1)
        if outer >= rank:
            break
        end, rank = float(ordered[outer - 1]), outer
    return end


def _samples_worth_one(deviations: NDArray[np.float64]) -> float:
    """Return ``τ = 1 + 2 Σ ρ_k``, where ρ_k is the autocorrelation of the signs at lag k.

    The sum ends at the first pair of lags that is not positive (Geyer 1992, initial positive
    sequence), since from there on the estimates are mere noise.
    """
    # A report asks thousands of times, and of few samples: sums are quicker than np.std.
    signs = np.sign(deviations)
    mean = float(signs.sum()) / len(signs)
    variance = float(signs @ signs) / len(signs) - mean * mean
    if variance == 0:
        return 1.0
    signs = (signs - mean) / math.sqrt(variance)
    tau = -1.0
    for lag in range(0, len(signs) // 2 - 1, 2):
        pair = _correlation(signs, lag) + _correlation(signs, lag + 1)
        if pair <= 0:
            break
        tau += 2 * pair
    return max(tau, 1.0)


def _correlation(scores: NDArray[np.float64], lag: int) -> float:
    """Return the autocorrelation at a lag of scores with mean 0 and variance 1.

    The scores were centred at their own mean, which makes the estimate 1 / n too small on average.
    This is added, as a drift would go unseen among 20 samples otherwise.
    """
    if lag == 0:
        return 1.0
    count = len(scores)
    return float(scores[lag:] @ scores[:-lag]) / (count - lag) + 1 / count


def _student_interval(medians: NDArray[np.float64]) -> tuple[float, float]:
    """Return the interval of the mean of independent, roughly normal observations."""
    count = len(medians)
    center = float(medians.sum()) / count
    deviations = medians - center
    error = math.sqrt(float(deviations @ deviations) / (count - 1) / count)
    reach = student_quantile(count - 1) * error
    return center - reach, center + reach


# Thousands of records share few counts of samples, so the results are cached.
@cache
def _rank(samples: int) -> int:
    """Return the number of independent samples that lie below the interval of their median.

    Args:
        samples: number of all independent samples.
    """
    from scipy.special import bdtr

    # The quantile of the binomial distribution; scipy.stats, which has it, takes 0.4 s to import.
    below = bdtr(np.arange(samples), samples, 0.5)
    return int(np.searchsorted(below, (1 - CONFIDENCE) / 2))


@cache
def student_quantile(degrees: int) -> float:
    """Return the end of the 95% interval of Student's distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
