"""``choose`` models the sizes without records, and marks those that are too far from any."""

import math
from dataclasses import replace

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.fitting import fit_curve, half_width, left_out_errors
from lossbench.bench.choose.models import models_of, place_in, terms_of
from lossbench.bench.choose.text import answer_text
from lossbench.bench.format import plain_text
from lossbench.impls.estimate import is_within_reach, preferred_order
from tests.makers.choices import CROSSING, ISLAND, THREE, ask, at_batches, full, lost, seen

SIZES = [(64, 128, 10), (1024, 128, 10), (64, 512, 10), (64, 128, 1000), (256, 256, 100)]
GRID = [Case("arcface", *size) for size in SIZES]
COEFFICIENTS = (1e-5, 1e-11, 1e-10)


def seconds_of(case):
    return sum(c * t for c, t in zip(COEFFICIENTS, terms_of("time", case), strict=True))


def curve_of(cases, values=None):
    values = values or [seconds_of(case) for case in cases]
    terms = [terms_of("time", case) for case in cases]
    return terms, values, [place_in(case) for case in cases]


def test_overhead_arithmetic_and_bytes_are_found_again():
    curve = fit_curve(*curve_of(GRID))
    assert curve.coefficients == pytest.approx(COEFFICIENTS, rel=1e-6)
    other = Case("arcface", 500, 300, 3000)
    found = curve.at(terms_of("time", other), place_in(other))
    assert found == pytest.approx(seconds_of(other), rel=1e-6)


def test_near_a_measured_size_the_estimate_is_what_was_measured_there():
    terms, values, places = curve_of(GRID)
    values[1] *= 1.5
    curve = fit_curve(terms, values, places)
    plain = sum(c * t for c, t in zip(curve.coefficients, terms[1], strict=True))
    assert abs(math.log(curve.at(terms[1], places[1]) / values[1])) < 0.2 * abs(
        math.log(plain / values[1])
    )


def test_the_error_is_that_of_the_sizes_left_out():
    exact = left_out_errors(*curve_of(GRID), None)
    assert max(map(abs, exact.values())) < 1e-6
    terms, values, places = curve_of(GRID)
    values[2] *= 2
    errors = left_out_errors(terms, values, places, None)
    assert abs(errors[2]) > 0.3


def test_a_size_beyond_the_reach_of_the_others_says_nothing_of_the_error():
    far = Case("arcface", 64, 128, 1_000_000)
    assert set(left_out_errors(*curve_of([*GRID, far]), None)) == set(range(len(GRID)))


def test_the_interval_widens_with_the_distance_from_the_records():
    places = [place_in(case) for case in GRID]
    near, far = (
        half_width([0.1, -0.1, 0.1], places[:3], each) for each in ((70, 128, 10), (9, 9, 9))
    )
    assert 0 < near < far < 1
    assert half_width([0.1], places[:1], (64, 128, 10)) == math.inf


@pytest.mark.parametrize(
    ("size", "within"),
    [((640, 128, 10), True), ((641, 128, 10), False), ((7, 1280, 100), True)],
)
def test_within_reach_is_a_factor_of_ten_on_every_axis_from_one_size(size, within):
    assert is_within_reach(size, [(64, 128, 10)]) is within


def test_the_crossover_is_found_where_the_times_cross_and_told_with_two_digits():
    below, above = (ask(CROSSING, replace(ISLAND, batch=b)) for b in (64, 1024))
    assert (below.best.variant, above.best.variant) == ("fused", "vectorized")
    for found, other in ((below, "vectorized"), (above, "fused")):
        (change,) = [c for c in found.changes if c.what == "batch"]
        assert change.variant == other
        assert 200 < change.at < 320
    assert below.changes[0].text == "from batch 260 or so: `vectorized`"


@pytest.mark.parametrize("batch", [128, 1024])
def test_one_noisy_record_makes_no_crossover(batch):
    """At 128 the slower one wins by its record alone, and the others would flip on both sides."""
    steady = [
        *at_batches("reference", lambda b: 1e-6 * b),
        *at_batches("fused", lambda b: 1e-7 * b),
        *at_batches("vectorized", lambda b: 1.1e-7 * b * (0.8 if b == 128 else 1.0)),
    ]
    found = ask(steady, replace(ISLAND, batch=batch))
    assert found.best.variant == ("vectorized" if batch == 128 else "fused")
    assert not [change for change in found.changes if change.what == "batch"]


def test_a_variant_that_was_measured_less_far_is_not_overtaken_where_it_is_unknown():
    near = [
        *at_batches("reference", lambda b: 1e-6 * b, batches=(64, 128, 256, 512, 1024, 20_000)),
        *at_batches("fused", lambda b: 5e-7 * b, batches=(64, 128, 256, 512, 1024, 20_000)),
        *at_batches("vectorized", lambda b: 1e-7 * b, batches=(64, 128, 256, 512)),
    ]
    found = ask(near, replace(ISLAND, batch=256))
    assert found.best.variant == "vectorized"
    assert not [change for change in found.changes if change.what == "batch"]


def test_a_size_without_records_is_modelled_and_says_by_which_error():
    found = ask(CROSSING, replace(ISLAND, batch=100))
    assert (found.best.variant, found.best.basis, found.best.sizes) == ("fused", "modelled", 7)
    assert found.best.step_seconds == pytest.approx(1e-5, rel=0.1)
    assert found.best.speedup.median == pytest.approx(10, rel=0.1)
    text = " ".join(plain_text(answer_text(found)).split())
    assert "modelled from 7 measured sizes; without each of them its time was within" in text


def test_beyond_a_factor_of_ten_the_answer_is_marked_as_extrapolated():
    assert ask(CROSSING, replace(ISLAND, batch=10_240)).best.basis == "modelled"
    found = ask(CROSSING, replace(ISLAND, batch=10_300))
    assert (found.best.basis, found.best.variant) == ("extrapolated", "vectorized")
    assert (found.verdict, found.regret) == ("unclear", math.inf)
    assert "; extrapolated" in plain_text(answer_text(found)).splitlines()[1]


def test_of_one_size_no_error_is_known():
    found = ask(THREE, replace(ISLAND, batch=128))
    assert (found.best.basis, found.best.model_error) == ("extrapolated", None)
    assert (found.verdict, found.regret) == ("unclear", math.inf)
    text = " ".join(plain_text(answer_text(found)).split())
    assert "either: no bound is known" in text
    assert "extrapolated from 1 measured size, too few to know the error" in text


def test_a_compiled_variant_of_few_sizes_takes_the_curve_it_was_compiled_from():
    few = at_batches("fused+compile", lambda b: 5e-8 * b, batches=(64, 512), compile_seconds=1.0)
    models = models_of([*CROSSING, *few])
    found = models["fused+compile"].seconds_at(replace(ISLAND, batch=256))
    assert found == pytest.approx(5e-8 * 256, rel=0.15)
    one = ask([*CROSSING, few[0]], replace(ISLAND, batch=256), compiled=True)
    (left_out,) = [each for each in one.excluded if each.variant == "fused+compile"]
    assert left_out.reason == "measured only at other sizes, too few or too distant to tell"


def test_memory_is_modelled_too():
    records = [replace_peak(record, 1000 * record.case.batch) for record in CROSSING]
    found = ask(records, replace(ISLAND, batch=100))
    assert found.best.step_peak_bytes == pytest.approx(100_000, rel=0.3)


def replace_peak(record, peak):
    return replace(record, memory=replace(record.memory, backward_peak_bytes=peak))


def test_classes_that_are_only_labels_do_not_matter():
    cases = [Case("contrastive", batch, 128, 1000) for batch in (16, 32, 64, 128, 256)]
    records = [
        seen(name, s * case.batch, case, reference=1e-6 * case.batch)
        for case in cases
        for name, s in (("reference", 1e-6), ("fused", 1e-7))
    ]
    found = ask(records, replace(cases[2], classes=5))
    assert (found.best.variant, found.best.basis) == ("fused", "modelled")
    assert found.best.step_seconds == pytest.approx(6.4e-6, rel=0.05)


@pytest.mark.parametrize("batch", [512, 700])
def test_a_variant_that_failed_at_a_smaller_or_the_nearest_size_is_left_out(batch):
    records = [r for r in CROSSING if (r.variant, r.case.batch) != ("vectorized", 512)]
    failed = lost("vectorized", replace(ISLAND, batch=512))
    found = ask([*records, failed], replace(ISLAND, batch=batch))
    assert found.best.variant == "fused"
    (left_out,) = [each for each in found.excluded if each.variant == "vectorized"]
    assert left_out.kind == "no times"
    assert left_out.reason.startswith("oom at 512x128")
    assert ask([*records, failed], replace(ISLAND, batch=300)).best.variant == "vectorized"


def test_the_order_puts_a_compiled_variant_first_only_for_a_tenth():
    assert preferred_order({"a+compile": 0.95, "a": 1.0, "b": 2.0}) == ["a", "a+compile", "b"]
    assert preferred_order({"a+compile": 0.9, "a": 1.0})[0] == "a+compile"
    assert preferred_order({"a+compile": 1.0}) == ["a+compile"]
    totals = {"a+compile": 5.0, "a": 4.0}
    assert preferred_order({"a+compile": 0.5, "a": 1.0}, totals)[0] == "a"


def test_where_others_were_measured_a_modelled_variant_must_be_a_tenth_faster():
    times = {"a": 0.95, "b": 1.0}
    assert preferred_order(times, modelled=["a"]) == ["b", "a"]
    assert preferred_order(times, modelled=["a", "b"])[0] == "a"
    assert preferred_order({"a": 0.9, "b": 1.0}, modelled=["a"])[0] == "a"


def test_real_records_are_modelled_for_every_loss_with_an_error_that_is_told():
    for loss in {record.case.loss for record in full()}:
        found = ask(full(), Case(loss, 200, 200, 500))
        assert found.best.basis == "modelled"
        assert 0 < found.best.model_error < math.inf
