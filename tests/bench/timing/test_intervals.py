"""The intervals cover what they say they cover."""

import math

import numpy as np
import pytest

from lossbench.bench.timing.intervals import Interval, median_interval, ratio_interval


def coverage(series, trials=400, length=60):
    """Return how often the interval of a series with median 0 encloses it."""
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(trials):
        _, low, high = median_interval(series(generator, length))
        inside += low <= 0 <= high
    return inside / trials


def test_the_interval_covers_independent_samples():
    assert coverage(lambda g, n: g.standard_cauchy(n)) >= 0.94


@pytest.mark.parametrize(("memory", "at_least"), [(0.3, 0.92), (0.6, 0.88)])
def test_the_interval_covers_drifting_samples(memory, at_least):
    def drifting(generator, length):
        walk = generator.standard_normal(length)
        for i in range(1, length):
            walk[i] += memory * walk[i - 1]
        return walk

    assert coverage(drifting) >= at_least


def test_drift_widens_the_interval():
    generator = np.random.default_rng(0)
    steps = generator.standard_normal(100)
    walk = np.cumsum(steps)
    _, low, high = median_interval(walk)
    _, shuffled_low, shuffled_high = median_interval(generator.permutation(walk))
    assert high - low > 1.5 * (shuffled_high - shuffled_low)


def process(generator, shift, rounds=40):
    return shift + 0.01 * generator.standard_normal(rounds)


def test_one_process_has_the_interval_of_its_rounds():
    logs = process(np.random.default_rng(0), 0.5)
    found, expected = ratio_interval([logs]), Interval(*map(math.exp, median_interval(logs)))
    assert (found.median, found.low, found.high) == pytest.approx(
        (expected.median, expected.low, expected.high)
    )


@pytest.mark.parametrize("processes", [3, 5])
def test_the_interval_covers_what_differs_between_processes(processes):
    generator = np.random.default_rng(0)
    inside = alone = 0
    for _ in range(400):
        logs = [process(generator, 0.03 * generator.standard_normal()) for _ in range(processes)]
        interval = ratio_interval(logs)
        inside += interval.low <= 1 <= interval.high
        alone += ratio_interval(logs[:1]).low <= 1 <= ratio_interval(logs[:1]).high
    assert inside / 400 >= 0.93
    assert alone / 400 < 0.3


def test_what_differs_between_processes_is_not_taken_for_drift():
    generator = np.random.default_rng(0)
    interval = ratio_interval([process(generator, shift) for shift in (-0.02, 0.0, 0.02)])
    assert math.log(interval.high / interval.low) == pytest.approx(
        2 * 4.303 * 0.02 / 3**0.5, rel=0.1
    )


def test_processes_that_agree_by_accident_are_no_narrower_than_their_rounds():
    rounds = np.linspace(-0.1, 0.1, 41)
    _, low, high = median_interval(np.concatenate([rounds] * 3))
    interval = ratio_interval([rounds] * 3)
    assert interval.low <= math.exp(low)
    assert interval.high >= math.exp(high)
