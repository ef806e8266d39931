"""The coverage of the intervals is simulated with the real functions, and judged."""

import math

import numpy as np
import pytest

from lossbench.bench.selftest import coverage
from lossbench.bench.selftest.coverage import Coverage, measure_coverage, noises
from lossbench.bench.timing.intervals import Interval


@pytest.fixture(scope="module")
def covered():
    return tuple(measure_coverage(trials=300))


def test_every_promised_interval_covers(covered):
    # With a third of the self-test's trials the share is less certain.
    assert [c for c in covered if c.promised and c.share.value < 0.91] == []
    assert len(covered) == 36


def test_only_long_spells_in_one_process_are_not_promised(covered):
    assert {(c.noise, c.processes) for c in covered if not c.promised} == {
        ("a fast and a slow state, 2 slow spells per process", 1)
    }


def test_the_interval_of_several_processes_is_wider_and_more_rounds_narrow_one(covered):
    widths = {(c.noise, c.rounds, c.processes): c.half_width for c in covered}
    for noise in noises():
        assert widths[noise.name, 20, 1] > widths[noise.name, 200, 1]
        assert widths[noise.name, 200, 3] > widths[noise.name, 200, 1]


@pytest.mark.parametrize("noise", noises(), ids=lambda noise: noise.name)
def test_the_median_of_the_noise_is_what_it_says(noise):
    drawn = noise.draw(np.random.default_rng(0), 4000, 200)
    assert np.median(drawn) == pytest.approx(noise.median, abs=0.03)


def test_the_slow_state_takes_a_third_of_the_time_in_so_many_spells():
    # Ten standard deviations apart the state can be read off the noise.
    draw = coverage._switching(8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coverage, "SLOW_SHIFT", 20.0)
        slow = draw(np.random.default_rng(0), 2000, 200) > 10
    assert slow.mean() == pytest.approx(1 / 3, abs=0.01)
    spells = (slow[:, 1:] & ~slow[:, :-1]).sum(axis=1) + slow[:, 0]
    assert spells.mean() == pytest.approx(8, abs=0.5)


def test_an_interval_that_is_too_narrow_is_found(monkeypatch):
    def too_narrow(processes):
        ratio = math.exp(np.median(np.concatenate(processes)))
        return Interval(ratio, 0.999 * ratio, 1.001 * ratio)

    monkeypatch.setattr(coverage, "ratio_interval", too_narrow)
    found = list(measure_coverage(trials=100))
    assert not any(c.right for c in found if c.promised)


def test_what_is_not_promised_is_right_anyway():
    shown = Coverage("noise", 20, 1, 10, 100, 0.01, promised=False)
    assert shown.right
    assert not Coverage("noise", 20, 1, 92, 100, 0.01, promised=True).right
