"""``choose`` picks the fastest variant in the records that meets the user's constraints."""

import math
import shlex
from dataclasses import replace

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.candidates import candidates_at
from lossbench.bench.choose.ratios import quotient, step_ratio
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import NotMeasured, pools_of
from lossbench.bench.choose.text import answer_text
from lossbench.bench.cli.run import run_cases
from lossbench.bench.errors import UsageError
from lossbench.bench.format import plain_text
from lossbench.bench.measure.conformance import Conformance
from lossbench.bench.timing.intervals import Interval
from lossbench.bench.timing.samples import Samples, Timing
from tests.makers.choices import ARC, HEADS, ISLAND, THREE, ask, lost, seen


def test_the_fastest_is_chosen_and_the_others_follow():
    found = ask(THREE)
    assert found.best.variant == "fused"
    assert [runner.candidate.variant for runner in found.runners_up] == ["vectorized", "reference"]
    assert found.runners_up[0].ratio.median == pytest.approx(2.5)
    assert (found.verdict, found.rival, found.measurement) == ("clear", "vectorized", "")
    assert found.best.step_seconds == pytest.approx(2e-4, rel=1e-4)
    assert found.best.basis == "measured"


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        ({}, "fused"),
        ({"compiled": True}, "vectorized+compile"),
        ({"compiled": True, "max_memory": 3000}, "fused"),
        ({"max_memory": 2999}, "vectorized"),
        ({"max_error": 6e-8}, "fused"),
        ({"max_error": 1e-8}, "reference"),
        ({"needs": ("logits",)}, "vectorized"),
        ({"needs": ("logits",), "compiled": True}, "vectorized+compile"),
        ({"needs": ("logits",), "max_error": 1e-8}, "reference"),
        ({"steps": 59_000}, "fused"),
        ({"steps": 61_000}, "vectorized+compile"),
    ],
)
def test_a_constraint_changes_the_answer(constraints, expected):
    assert ask(HEADS, ARC, **constraints).best.variant == expected


def test_a_faster_third_party_stands_beside_the_answer_and_is_chosen_for_who_allows_it():
    case = Case("normface", 64, 128, 100)
    records = [seen("reference", 1e-3, case), seen("pml", 2e-4, case), seen("fused", 4e-4, case)]
    found = ask(records, case)
    assert found.best.variant == "fused"
    (beside,) = found.alternatives
    assert (beside.lift, beside.candidate.variant) == ("with --third-party", "pml")
    assert beside.ratio.median == pytest.approx(2, rel=0.01)
    assert ask(records, case, third_party=True).best.variant == "pml"


def test_sparse_gradients_stand_beside_the_answer_and_are_chosen_for_who_takes_them():
    case = Case("center", 64, 128, 100)
    records = [seen("reference", 1e-3, case), seen("sparse", 1e-5, case, peak=2**20)]
    found = ask(records, case)
    assert found.best.variant == "reference"
    lines = plain_text(answer_text(found)).splitlines()
    assert lines[2] == "  with --sparse: sparse, 100 times as fast, 1 MiB peak"
    assert ask(records, case, sparse=True).best.variant == "sparse"
    assert not ask(records, case, sparse=True).alternatives


@pytest.mark.parametrize(("seconds", "named"), [(0.985e-3, False), (0.96e-3, True)])
def test_an_alternative_gains_more_than_counts_as_the_same(seconds, named):
    case = Case("center", 64, 128, 100)
    records = [seen("reference", 1e-3, case), seen("sparse", seconds, case)]
    found = ask(records, case)
    assert [each.candidate.variant for each in found.alternatives] == ["sparse"] * named
    assert ("1.04 times as fast" in plain_text(answer_text(found))) is named


def test_a_faster_compiled_variant_stands_beside_the_answer_with_its_whole_price():
    (beside,) = ask(HEADS, ARC).alternatives
    assert (beside.lift, beside.candidate.variant) == ("with --compiled", "vectorized+compile")
    assert beside.steps == pytest.approx(60_000, rel=0.02)
    text = " ".join(plain_text(answer_text(ask(HEADS, ARC))).split())
    assert "compiling takes 6 s~, saved after 60,000 steps" in text


def test_an_impossible_limit_of_memory_names_the_smallest():
    case = Case("triplet_weighted", 4096, 128, 100)
    records = [
        seen("reference", 1e-3, case, peak=9 * 2**20),
        seen("fused", 2e-4, case, peak=int(2.1 * 2**20)),
    ]
    with pytest.raises(UsageError) as error:
        ask(records, case, max_memory=2**20)
    assert str(error.value) == (
        "no variant of `triplet_weighted` stays under 1 MiB at batch 4096; "
        "the smallest is `fused` at 2.1 MiB"
    )


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"max_error": 1e-9}, "the most exact is `reference` at 1.0e-08"),
        ({"needs": ("logits",), "max_memory": 9}, "the other constraints stays under 9 B"),
    ],
)
def test_what_cannot_be_names_the_nearest(constraints, message):
    with pytest.raises(UsageError, match=message):
        ask(HEADS, ARC, **constraints)


def test_an_output_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match="arcface has no output 'logit'; it has: loss, logits"):
        Request(ARC, needs=("logit",))


def test_what_the_data_cannot_tell_is_unclear_and_says_what_it_costs_and_what_would_tell():
    records = [*THREE[:2], seen("fused", 4.95e-4, noise=0.3)]
    found = ask(records)
    assert (found.verdict, found.best.variant, found.rival) == ("unclear", "fused", "vectorized")
    ratio = found.runners_up[0].ratio
    assert found.regret == pytest.approx(max(1 / ratio.low, ratio.high) - 1)
    text = plain_text(answer_text(found))
    assert f"either: within {100 * found.regret:.2g}%" in " ".join(text.split())
    words = shlex.split(found.measurement)
    assert words[:2] == ["lossbench", "run"]
    context = run_cases.make_context("run", words[2:])
    assert context.params["losses"] == ("island",)
    assert set(context.params["variants"]) == {"fused", "vectorized"}
    assert context.params["batch"] == (64,)


def test_two_that_differ_by_less_than_two_per_cent_are_the_same():
    found = ask([THREE[0], seen("vectorized", 2.001e-4), seen("fused", 2e-4)])
    assert (found.verdict, found.rival) == ("same", "vectorized")


def test_the_only_one_needs_no_rival():
    assert ask(THREE[:1]).verdict == "only one"


def test_variants_of_the_same_rounds_are_compared_in_pairs():
    one, other = (seen(name, s, drift=0.5, noise=0.01) for name, s in (("a", 1e-4), ("b", 1.1e-4)))
    ratio = step_ratio(one, other)
    assert ratio.median == pytest.approx(1.1)
    assert 1.05 < ratio.low < ratio.high < 1.15


def test_variants_of_different_rounds_are_compared_by_their_speedups():
    slow_day = Timing((Samples((4e-4,) * 40, (2e-3,) * 40, 1),))
    other = replace(seen("fused", 1e-4), step=slow_day)
    assert step_ratio(seen("vectorized", 5e-4), other).median == pytest.approx(0.4)


def test_without_the_reference_only_medians_are_known():
    alone = Timing((Samples((4e-4,) * 40, (), 1),))
    more = Timing((Samples((2e-4,) * 50, (), 1),))
    records = [replace(seen("fused", 1), step=alone), replace(seen("vectorized", 1), step=more)]
    found = ask([lost("reference"), *records])
    assert (found.best.variant, found.best.speedup, found.verdict) == (
        "vectorized",
        None,
        "unclear",
    )
    assert found.runners_up[0].ratio == Interval(pytest.approx(2), 0, math.inf)


def test_the_errors_of_a_quotient_add_as_squares_do():
    wide = Interval(2.0, 2 * math.exp(-0.3), 2 * math.exp(0.3))
    found = quotient(wide, Interval(1.0, math.exp(-0.4), math.exp(0.4)))
    assert found.median == pytest.approx(2)
    assert found.low == pytest.approx(2 * math.exp(-0.5))
    assert found.high == pytest.approx(2 * math.exp(0.5))


def test_where_nothing_was_timed_the_reasons_are_told():
    with pytest.raises(NotMeasured, match=r"was timed at 64x128.*fused oom at .*: no memory"):
        ask([lost("reference"), lost("fused")])


def test_the_limits_of_memory_at_which_another_wins_are_told():
    found = [c for c in ask(HEADS, ARC, compiled=True).changes if c.what == "max_memory"]
    assert [(c.at, c.variant) for c in found] == [
        (5000, "fused"),
        (3000, "vectorized"),
        (2000, ""),
    ]
    limited = ask(HEADS, ARC, max_memory=2500, compiled=True).changes
    assert (5000, "vectorized+compile") in [(c.at, c.variant) for c in limited]


def test_no_limit_between_two_peaks_that_read_the_same_is_told():
    records = [
        seen("reference", 1e-3, ARC, peak=2**21),
        seen("vectorized", 5e-4, ARC, peak=2**20),
        seen("fused", 2e-4, ARC, peak=2**20 + 999),
    ]
    (found,) = [c for c in ask(records, ARC).changes if c.what == "max_memory"]
    assert (found.at, found.text) == (2**20, "with less than 1 MiB: no variant")


def test_the_steps_that_pay_for_compiling_are_told():
    (few,) = [c for c in ask(HEADS, ARC, compiled=True).changes if c.what == "steps"]
    assert (few.variant, few.at) == ("fused", pytest.approx(60_000, rel=0.02))
    (many,) = [c for c in ask(HEADS, ARC, steps=100).changes if c.what == "steps"]
    assert (many.variant, many.at) == ("vectorized+compile", few.at)
    assert many.text == "from 60,000 steps on: `vectorized+compile`"


def test_degenerate_inputs_are_among_the_evidence():
    parts = (
        Conformance("zero row", "finite", "finite", "same"),
        Conformance("NaN", "finite", "finite", "worse", "out.loss"),
    )
    (found, *_), _ = candidates_at(
        pools_of([seen("fused", 1e-4, conformance=parts)], ISLAND)[0], ISLAND
    )
    assert (found.worse, found.better, found.tried) == (("NaN",), (), True)


@pytest.mark.parametrize(("seconds", "best"), [(1.9e-4, "fused"), (1.7e-4, "fused+compile")])
def test_compiling_must_save_a_tenth(seconds, best):
    found = ask([*THREE, seen("fused+compile", seconds, compile_seconds=1.0)], compiled=True)
    assert found.best.variant == best


def test_compiling_that_took_no_time_is_still_compiling():
    """If the first step is no slower than the next, the compile time is clamped to 0."""
    free = seen("fused+compile", 1.9e-4, noise=0.3, compile_seconds=0.0)
    assert ask([*THREE, free]).rival == "vectorized"
    found = ask([*THREE, free], compiled=True)
    assert (found.best.variant, found.rival) == ("fused", "fused+compile")
    assert found.runners_up[0].candidate.compiled


def test_a_variant_that_is_no_longer_registered_is_left_out_by_name():
    found = ask([*THREE, seen("gone", 1e-5)])
    assert found.best.variant == "fused"
    last = found.excluded[-1]
    assert (last.variant, last.kind, last.reason) == (
        "gone",
        "unregistered",
        "no longer registered",
    )
