"""A time below the limit is explained, and one that the arithmetic rules out is refused."""

from dataclasses import replace

import pytest

from lossbench import impls
from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.measure import plausibility
from lossbench.bench.measure.ceilings import Ceilings, limit
from lossbench.bench.measure.plausibility import (
    CACHES,
    CEILING,
    EXCESSES,
    MARGIN,
    SPARSE,
    UNKNOWN,
    WIDER,
    check_plausibility,
    explain_excess,
    least_arithmetic_seconds,
)
from lossbench.bench.paths import RESULTS
from lossbench.bench.run.records import read_records
from tests.makers.records import TIMING, record

CASE = Case("softmax", batch=100, dim=10, classes=50)
# A forward takes 2 B D C operations, and nothing can be left out.
FLOPS = 2 * 100 * 10 * 50


def made(bandwidth=1e12, cache=0, **rates):
    return Ceilings(
        rates or {"float32": 1e9}, bandwidth, {"forward": 1e-9, "step": 1e-9}, cache_bytes=cache
    )


@pytest.mark.parametrize("phase", ["forward", "step"])
def test_only_what_the_arithmetic_rules_out_is_implausible(phase):
    least = FLOPS / 1e9
    assert check_plausibility(CASE, {phase: 1.01 * least / MARGIN}, made()) == ""
    assert check_plausibility(CASE, {phase: 0.99 * least / MARGIN}, made()) == (
        f"implausible: a {phase} of 49.5 µs, where the least arithmetic of softmax takes 100 µs at "
        "the fastest rate of a product here"
    )


def test_the_caches_and_the_bandwidth_rule_nothing_out():
    assert check_plausibility(CASE, {"step": 1e-3}, made(bandwidth=1.0)) == ""


@pytest.mark.parametrize(
    ("dtype", "parts", "products"),
    [
        ("float32", "float32", 1),
        ("float32", "float64", 1),
        ("float32", "float16", 3),
        ("float32", "bfloat16", 6),
        ("float64", "float32", 6),
        ("float64", "bfloat16", 28),
        ("float16", "bfloat16", 3),
        ("bfloat16", "float16", 1),
    ],
)
def test_an_exact_product_takes_several_of_a_dtype_with_fewer_digits(dtype, parts, products):
    assert plausibility._products(dtype, parts) == products


def test_the_fastest_exact_way_to_multiply_counts():
    rates = {"float64": 1e9, "float32": 2e9, "float16": 9e9, "bfloat16": 6e9}
    seconds = {
        dtype: least_arithmetic_seconds(replace(CASE, dtype=dtype), made(**rates))
        for dtype in DTYPES
    }
    assert seconds["float64"] == FLOPS / 1e9
    assert seconds["float32"] == FLOPS / 3e9
    assert seconds["float16"] == seconds["bfloat16"] == FLOPS / 9e9


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_nothing_is_said_of_a_short_dtype_without_the_rate_of_float32(dtype):
    case = replace(CASE, dtype=dtype)
    assert least_arithmetic_seconds(case, made(**{dtype: 1e9})) is None
    assert check_plausibility(case, {"step": 1e-12}, made(**{dtype: 1e9})) == ""
    assert least_arithmetic_seconds(CASE, made(float64=1e9)) is None


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_the_least_arithmetic_is_no_more_than_that_of_a_forward(loss):
    cost, sizes = impls.loss(loss).cost, {"B": 64, "D": 32, "C": 100, "U": 16}
    assert 0 < cost.least_flops(sizes) <= cost.flops("forward", sizes)


def test_a_search_tree_may_exclude_pairs():
    sizes = {"B": 64, "D": 32, "C": 100, "U": 16}
    for loss in ("triplet_batch_hard", "triplet_weighted", "triplet_weighted_unshifted"):
        assert impls.loss(loss).cost.least_flops(sizes) == 64 * 32
    assert impls.loss("pairwise_distance").cost.least_flops(sizes) > 64 * 64 * 32


BOUND_BY_BYTES = made(bandwidth=1e6)


@pytest.mark.parametrize(
    ("ceilings", "share", "sparse", "reason"),
    [
        (made(), 1.0, False, ""),
        (made(), 1.01, False, CEILING),
        (made(), 2.01, False, UNKNOWN),
        (made(), 1.01, True, CEILING),
        (BOUND_BY_BYTES, 1.0, True, ""),
        (BOUND_BY_BYTES, 9.0, True, SPARSE),
        (replace(BOUND_BY_BYTES, cache_bytes=10**6), 9.0, False, CACHES),
        (replace(BOUND_BY_BYTES, cache_bytes=10), 9.0, False, UNKNOWN),
        (replace(BOUND_BY_BYTES, cache_bytes=10), 1.9, False, CEILING),
    ],
)
def test_an_excess_has_the_reason_that_can_be_honest(ceilings, share, sparse, reason):
    seconds = limit(CASE, "step", ceilings).seconds / share
    assert explain_excess(CASE, "step", seconds, ceilings, sparse=sparse) == reason
    assert reason in {"", *EXCESSES}


def test_slow_short_products_can_be_computed_in_a_wider_dtype():
    case, ceilings = replace(CASE, dtype="float16"), made(float16=1e3)
    assert explain_excess(case, "step", 1.0, ceilings, sparse=False) == WIDER


def test_a_record_says_whether_its_variant_is_sparse():
    case = Case("center", batch=64, dim=64, classes=100_000)
    found = record(case=case, variant="sparse", ceilings=made(bandwidth=1e9))
    assert found.below_limit("step") == SPARSE
    assert replace(found, variant="fused").below_limit("step") == UNKNOWN
    assert replace(found, ceilings=None).below_limit("step") is None
    slow = replace(TIMING.processes[0], seconds=(9.0, 9.0))
    assert replace(found, step=replace(TIMING, processes=(slow,))).below_limit("step") == ""


def test_no_kept_record_is_implausible_and_each_excess_is_explained():
    records = [r for file in RESULTS.rglob("records.jsonl") for r in read_records(file.parent)]
    timed = [r for r in records if r.step and r.limit("step")]
    assert len(timed) > 1000
    for each in timed:
        seconds = {"forward": each.forward.median_seconds, "step": each.step.median_seconds}
        assert check_plausibility(each.case, seconds, each.ceilings) == ""
        for phase in seconds:
            assert each.below_limit(phase) != UNKNOWN
