"""The order of Records, also of those that are no longer registered."""

import math
from dataclasses import replace

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.run.order import (
    Provenance,
    is_registered,
    place_of_record,
    preferred,
    variant_order,
)
from lossbench.bench.run.plan import RunPlan, drop_unregistered
from tests.makers.records import record
from tests.makers.runs import paired

ISLAND = Case("island", batch=4, dim=2, classes=3)


def timed(loss, variant, factor=1.0):
    return record(case=replace(ISLAND, loss=loss), variant=variant, step=paired(factor))


def names(records):
    return [(each.case.loss, each.variant) for each in sorted(records, key=place_of_record)]


@pytest.mark.parametrize(
    ("loss", "variant", "expected"),
    [
        ("island", "fused", True),
        ("island", "gone", False),
        ("vanished", "reference", False),
    ],
)
def test_the_registry_says_what_is_there(loss, variant, expected):
    assert is_registered(loss, variant) is expected
    assert timed(loss, variant).registered is expected


def test_losses_come_in_the_catalogue_s_order_and_the_fastest_first():
    found = [timed("island", "fused"), timed("softmax", "reference"), timed("island", "native", 2)]
    found += [timed("island", "vectorized", 0.5)]
    assert names(found) == [
        ("softmax", "reference"), ("island", "vectorized"), ("island", "fused"),
        ("island", "native"),
    ]  # fmt: skip


def test_what_is_no_longer_registered_comes_last():
    found = [timed("abandoned", "fused"), timed("vector_distance", "gone", 0.1)]
    found += [timed("vector_distance", "reference")]
    assert names(found) == [
        ("vector_distance", "reference"), ("vector_distance", "gone"), ("abandoned", "fused"),
    ]  # fmt: skip


def test_the_reference_comes_first_and_compiled_variants_after_eager_ones():
    order = variant_order(["absent"])
    assert order[0] == "reference"
    assert order[-1] == "absent"
    assert order.index("vectorized") < order.index("fused+compile")


def test_a_record_of_a_loss_that_is_gone_has_no_limit():
    assert timed("vanished", "fused").limit("step") is None


def test_a_plan_is_resumed_without_what_is_gone():
    gone = replace(ISLAND, loss="vanished")
    tasks = ((ISLAND, ("reference", "gone")), (replace(ISLAND, batch=8), ("gone",)))
    plan = RunPlan((*tasks, (gone, ("fused",))), 1.0, 1.0, 1, "here")
    kept, lines = drop_unregistered(plan)
    assert kept == replace(plan, tasks=((ISLAND, ("reference",)),))
    assert lines == [
        "skipped island gone in 2 cases: no longer registered",
        "skipped vanished fused in 1 cases: no longer registered",
    ]


GOOD = Provenance(True, True, 3, 0.01, 0.0, "2026-01-01")


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        ({"clean": False}, "of uncommitted code"),
        ({"validated": False}, "timed without checks of inputs"),
        ({"processes": 1}, "in fewer than 3 processes"),
        ({"half_width": 0.2}, "with a wide interval"),
        ({"elsewhere": 1.0}, "on a busy machine"),
    ],
)
def test_a_better_measurement_counts_although_another_is_newer(worse, why):
    newer = GOOD._replace(**worse, made="2026-03-01")
    for order in ([GOOD, newer], [newer, GOOD]):
        assert preferred(order, lambda origin: origin) == GOOD
    assert newer.weaker_than(GOOD) == why


def test_among_equals_the_newest_counts_and_then_the_last():
    newer = GOOD._replace(made="2026-03-01", processes=5, half_width=0.04)
    assert preferred([newer, GOOD], lambda origin: origin) == newer
    assert GOOD.weaker_than(newer) == "older"
    assert preferred(["first", "second"], lambda _: GOOD) == "second"


def test_the_newest_counts_if_it_has_no_times_unless_it_is_dirty():
    """A variant that is refused today must not be chosen by its times of yesterday."""
    refused = GOOD._replace(processes=0, half_width=math.inf, made="2026-03-01")
    assert preferred([GOOD, refused], lambda origin: origin) == refused
    assert preferred([GOOD, refused._replace(clean=False)], lambda origin: origin) == GOOD
    assert preferred([refused._replace(made="2025-01-01"), GOOD], lambda origin: origin) == GOOD


def test_a_record_tells_its_provenance():
    found = timed("island", "fused").provenance
    assert (found.clean, found.processes, found.made[:10]) == (True, 1, "2026-01-02")
