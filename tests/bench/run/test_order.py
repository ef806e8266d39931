"""The order of Records, also of those that are no longer registered."""

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


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([(True, "a", 1, "2026-01-01")], (True, "a", 3, "2025-12-31")),
        ([(False, "b", 5, "2026-03-01")], (True, "a", 1, "2026-01-01")),
        ([(True, "a", 3, "2025-12-31")], (True, "b", 1, "2026-01-01")),
        (
            [(True, "a", 1, "2026-01-02"), (True, "a", 3, "2026-01-01")],
            (True, "a", 3, "2026-01-03"),
        ),
        ([(False, "a", 3, "2026-01-01")], (False, "b", 1, "2026-01-02")),
    ],
    ids=["more processes", "clean", "later commit", "later", "dirty alone"],
)
def test_of_several_measurements_of_a_cell_one_counts(others, chosen):
    origins = [Provenance(*each) for each in (*others, chosen)]
    for order in (origins, origins[::-1]):
        assert preferred(order, lambda origin: origin) == Provenance(*chosen)


def test_of_equal_measurements_the_last_counts():
    same = Provenance(True, "a", 1, "2026-01-01")
    assert preferred(["first", "second"], lambda _: same) == "second"


def test_a_record_tells_its_provenance():
    found = timed("island", "fused").provenance
    assert (found.clean, found.processes, found.made[:10]) == (True, 1, "2026-01-02")
