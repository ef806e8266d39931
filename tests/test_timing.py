import math

import numpy as np
import pytest

from bench.timing import Interval, Sampling, Timing, interleave, median_interval

ALTERNATING = [0.99, 1.01] * 20


def timing(factor, noise=ALTERNATING):
    return Timing(
        seconds=tuple(factor * x for x in noise), reference_seconds=(1.0,) * len(noise), calls=1
    )


@pytest.mark.parametrize(
    ("factor", "verdict"), [(0.5, "faster"), (2, "slower"), (1, "same"), (0.97, "faster")]
)
def test_verdicts(factor, verdict):
    assert timing(factor).verdict == verdict


def test_a_wide_interval_is_unclear():
    assert timing(1, noise=[0.8, 1.25] * 10).verdict == "unclear"


def test_too_few_rounds_are_unclear():
    few = timing(0.5, noise=[1.0] * 5)
    assert few.speedup == Interval(2.0, 0.0, math.inf)
    assert few.verdict == "unclear"


def test_without_a_reference_there_is_no_speedup():
    alone = Timing(seconds=(1.0,), reference_seconds=(), calls=1)
    assert alone.speedup is None
    assert alone.verdict == "unclear"


def test_samples_must_be_paired():
    with pytest.raises(ValueError, match="a reference sample for each of 2, got 1"):
        Timing(seconds=(1.0, 1.0), reference_seconds=(1.0,), calls=1)


def test_an_outlier_is_kept_and_does_not_move_the_median():
    noisy = timing(0.5, noise=[1.0] * 30 + [100.0])
    assert len(noisy.seconds) == 31
    assert noisy.speedup.median == pytest.approx(2)


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


def test_every_callable_gets_a_sample_a_round_and_is_reset_before_it():
    counts = {"a": 0, "b": 0, "resets": 0}

    def bump(name):
        def call():
            counts[name] += 1

        return call

    timings = interleave(
        {"a": bump("a"), "b": bump("b")},
        "a",
        Sampling(budget_seconds=0.05),
        {"b": bump("resets")},
    )
    a, b = timings["a"], timings["b"]
    assert len(a.seconds) == len(b.seconds) == counts["resets"] >= 6
    assert b.reference_seconds == a.seconds
    assert counts["a"] >= a.calls * len(a.seconds)


def test_sampling_ends_at_ten_times_the_budget_even_without_six_rounds():
    import time

    timings = interleave({"a": lambda: time.sleep(0.02)}, "a", Sampling(budget_seconds=1e-4))
    assert 1 <= len(timings["a"].seconds) < 6
