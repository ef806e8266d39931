import math

import pytest

from lossbench.bench.timing.intervals import Interval
from lossbench.bench.timing.samples import Samples, Timing

ALTERNATING = [0.99, 1.01] * 20


def timing(factor, noise=ALTERNATING):
    seconds = tuple(factor * x for x in noise)
    return Timing((Samples(seconds, reference_seconds=(1.0,) * len(noise), calls=1),))


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
    alone = Timing((Samples(seconds=(1.0,), reference_seconds=(), calls=1),))
    assert alone.speedup is None
    assert alone.verdict == "unclear"


def test_samples_must_be_paired():
    with pytest.raises(ValueError, match="a reference sample for each of 2, got 1"):
        Samples(seconds=(1.0, 1.0), reference_seconds=(1.0,), calls=1)


def test_an_outlier_is_kept_and_does_not_move_the_median():
    noisy = timing(0.5, noise=[1.0] * 30 + [100.0])
    assert len(noisy.seconds) == 31
    assert noisy.speedup.median == pytest.approx(2)


def test_processes_are_joined_in_order():
    joined = Timing.joined([timing(0.5), timing(0.25, [1.0] * 8)])
    assert len(joined.processes) == 2
    assert joined.seconds == timing(0.5).seconds + (0.25,) * 8


def test_processes_that_differ_leave_the_verdict_unclear():
    assert timing(0.9).verdict == timing(0.95).verdict == "faster"
    assert Timing.joined([timing(0.9), timing(1.05), timing(0.95)]).verdict == "unclear"
