"""``choose`` interpolates between measured sizes, and refuses other sizes."""

import math
from dataclasses import replace

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.ratios import mixed_interval
from lossbench.bench.choose.sizes import weights_between
from lossbench.bench.choose.sources import NotMeasured
from lossbench.bench.timing.intervals import Interval
from tests.makers.choices import CROSSING, ISLAND, ask, lost


def test_a_mixture_is_as_wide_as_its_parts_differ():
    parts = [Interval(1.0, 1.0, 1.0), Interval(4.0, 4.0, 4.0)]
    assert mixed_interval([1.0, 0.0], parts) == Interval(1.0, 1.0, 1.0)
    half_way = mixed_interval([0.5, 0.5], parts)
    assert (half_way.low, half_way.median, half_way.high) == pytest.approx((1, 2, 4))


def test_a_power_law_is_interpolated_exactly_and_never_extrapolated():
    sizes = [(64, 128, 10), (1024, 128, 10), (64, 512, 10), (64, 128, 1000)]
    cases = [Case("arcface", *size) for size in sizes]
    inside, outside = Case("arcface", 128, 140, 20), Case("arcface", 1024, 512, 1000)
    weights = weights_between(inside, cases)
    assert sum(weights.values()) == pytest.approx(1)
    for axis in ("batch", "dim", "classes"):
        mean = sum(w * math.log(getattr(case, axis)) for case, w in weights.items())
        assert mean == pytest.approx(math.log(getattr(inside, axis)))
    assert weights_between(outside, cases) is None
    assert weights_between(cases[1], cases) == {cases[1]: 1.0}
    assert weights_between(inside, []) is None


def test_the_nearest_sizes_are_taken():
    cases = [Case("arcface", batch, 128, 10) for batch in (64, 128, 512, 1024)]
    assert set(weights_between(Case("arcface", 256, 128, 10), cases)) == set(cases[1:3])


def test_classes_that_are_only_labels_need_not_lie_between():
    cases = [Case("contrastive", batch, 128, 1000) for batch in (64, 256)]
    assert set(weights_between(Case("contrastive", 128, 128, 5), cases)) == set(cases)
    assert weights_between(replace(cases[0], classes=5), cases) == {cases[0]: 1.0}


def test_the_crossover_is_found_where_the_times_cross():
    below, above = ask(CROSSING), ask(CROSSING, replace(ISLAND, batch=1024))
    assert (below.best.variant, above.best.variant) == ("fused", "vectorized")
    for found, other in ((below, "vectorized"), (above, "fused")):
        (change,) = [c for c in found.changes if c.what == "batch" and c.variant]
        assert change.variant == other
        assert abs(change.at - 256) <= 1
        assert f"`{other}`" in change.text


def test_a_size_between_is_marked_and_in_doubt_where_the_winners_differ():
    near, middle = (ask(CROSSING, replace(ISLAND, batch=b)) for b in (66, 240))
    assert near.interpolated
    assert near.best.step_seconds == pytest.approx(1e-3 * 66 / 64, rel=1e-4)
    assert (near.verdict, middle.verdict) == ("clear", "unclear")
    assert [size.batch for size in near.best.sizes] == [64, 1024]
    assert "--batch=240" in middle.measurement


def test_beyond_the_measured_sizes_nothing_is_said():
    with pytest.raises(NotMeasured, match=r"was not measured at 2048x128.*batch 64 to 1024"):
        ask(CROSSING, replace(ISLAND, batch=2048))


def test_a_variant_that_fails_at_a_neighbouring_size_is_left_out():
    large = replace(ISLAND, batch=1024)
    records = [r for r in CROSSING if (r.variant, r.case) != ("fused", large)]
    found = ask([*records, lost("fused", large)], replace(ISLAND, batch=100))
    assert found.best.variant == "vectorized"
    (left_out,) = [each for each in found.excluded if each.variant == "fused"]
    assert (left_out.kind, left_out.reason) == (
        "no times",
        "oom at 1024x128, C=100, cpu, gaussian: no memory",
    )
