"""A time below the machine's limit is explained, and one that no arithmetic allows is refused."""

from dataclasses import replace

import pytest

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.conditions import BUSY_ELSEWHERE
from lossbench.bench.measure.ceilings import Ceilings, limit
from lossbench.bench.measure.plausibility import (
    BUSY,
    CACHES,
    CEILING,
    EXCESSES,
    MARGIN,
    ONE_PASS,
    SPARSE,
    UNKNOWN,
    WIDER,
    check_plausibility,
    explain_excess,
    least_arithmetic_seconds,
)
from lossbench.bench.paths import ROOT
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS

SOFTMAX = Case("softmax", batch=64, dim=32, classes=100)
HALF = replace(SOFTMAX, dtype="bfloat16")
CENTER = Case("center_mse", batch=64, dim=32, classes=10_000)
KEPT = sorted(path.parent for path in (ROOT / "results").rglob(RECORDS))


def ceilings(flops=1e9, bandwidth=1e12, call=1e-9, **changes):
    calls = {"forward": call, "step": call}
    return Ceilings({"float32": flops}, bandwidth, calls, **changes)


def test_a_time_that_the_least_arithmetic_does_not_allow_is_refused():
    least = least_arithmetic_seconds(SOFTMAX, ceilings())
    # The forward of the products alone: 2BDC operations.
    assert least == pytest.approx(2 * 64 * 32 * 100 / 1e9, rel=0.2)
    possible = {"forward": least / MARGIN * 1.01, "step": least}
    assert check_plausibility(SOFTMAX, possible, ceilings()) == ""
    for phase in possible:
        reason = check_plausibility(SOFTMAX, {**possible, phase: least / MARGIN / 1.01}, ceilings())
        assert reason.startswith(f"implausible: a {phase} of ")
        assert "softmax" in reason


def test_ceilings_of_a_busy_machine_refuse_nothing():
    busy = ceilings(elsewhere=BUSY_ELSEWHERE)
    assert check_plausibility(SOFTMAX, {"step": 1e-12}, busy) == ""
    assert explain_excess(SOFTMAX, "step", 1e-12, busy, sparse=False) == BUSY


def test_a_16_bit_case_is_judged_by_the_rate_of_float32():
    rates = Ceilings({"bfloat16": 1e3}, 1e12, {"forward": 1e-9, "step": 1e-9})
    assert least_arithmetic_seconds(HALF, rates) is None
    assert check_plausibility(HALF, {"step": 1e-12}, rates) == ""
    both = replace(rates, flops_per_second={"bfloat16": 1e3, "float32": 1e9})
    known = least_arithmetic_seconds(SOFTMAX, ceilings())
    assert least_arithmetic_seconds(HALF, both) == pytest.approx(known)


def test_two_fast_products_in_16_bits_may_replace_one_in_float32():
    fast = replace(ceilings(), flops_per_second={"float32": 1e9, "bfloat16": 1e12})
    # 22 bits of a float32 are three terms of a bfloat16: six products.
    slow = least_arithmetic_seconds(SOFTMAX, ceilings())
    assert least_arithmetic_seconds(SOFTMAX, fast) == pytest.approx(slow * 6e-3)


@pytest.mark.parametrize(
    ("dtype", "parts", "products"),
    [
        ("float32", "float64", 1),
        ("float32", "float16", 3),
        ("float64", "float32", 6),
        ("float64", "bfloat16", 28),
        ("bfloat16", "float16", 1),
    ],
)
def test_an_exact_product_takes_several_of_a_dtype_with_fewer_digits(dtype, parts, products):
    rates = replace(ceilings(), flops_per_second={"float32": 1.0, dtype: 1.0, parts: 1e9})
    alone = replace(rates, flops_per_second={"float32": 1.0, dtype: 1.0})
    case = replace(SOFTMAX, dtype=dtype)
    gained = least_arithmetic_seconds(case, alone) / least_arithmetic_seconds(case, rates)
    assert gained == pytest.approx(1e9 / products)


@pytest.mark.parametrize(
    ("case", "limits", "sparse", "reason"),
    [
        (CENTER, ceilings(1e15, 1e9), True, SPARSE),
        (CENTER, ceilings(1e15, 1e9, cache_bytes=2**30), False, CACHES),
        (CENTER, ceilings(1e15, 1e9), False, CEILING),
        (SOFTMAX, ceilings(), False, CEILING),
        (HALF, replace(ceilings(), flops_per_second={"bfloat16": 1e9}), False, WIDER),
    ],
)
def test_each_reason_is_told(case, limits, sparse, reason):
    least = limit(case, "step", limits).seconds
    assert explain_excess(case, "step", least, limits, sparse=sparse) == ""
    assert explain_excess(case, "step", least / 1.5, limits, sparse=sparse) == reason
    assert reason in EXCESSES


def test_a_gradient_that_is_computed_with_the_loss_saves_a_read_of_the_inputs():
    limits, pairs = ceilings(1e15, 1e9), replace(CENTER, loss="contrastive")
    least = limit(pairs, "step", limits).seconds
    # Of 2 reads of 2 matrices and 2 writes, 4 of 6 are left.
    assert explain_excess(pairs, "step", least * 0.67, limits, sparse=False) == ONE_PASS
    assert explain_excess(pairs, "step", least * 0.66, limits, sparse=False) == CEILING
    for case, phase in ((pairs, "forward"), (replace(pairs, loss="vector_distance"), "step")):
        seconds = 0.9 * limit(case, phase, limits).seconds
        assert explain_excess(case, phase, seconds, limits, sparse=False) == CEILING


def test_what_no_margin_explains_is_unexplained():
    least = limit(SOFTMAX, "step", ceilings()).seconds
    found = explain_excess(SOFTMAX, "step", least / (1.1 * MARGIN), ceilings(), sparse=False)
    assert found == UNKNOWN


def test_two_measurements_give_the_best_rates():
    first, second = ceilings(2e9, 1e9, 1e-6, elsewhere=1.0), ceilings(1e9, 2e9, 2e-6, cache_bytes=5)
    assert first.joined(second) == ceilings(2e9, 2e9, 1e-6, cache_bytes=5)
    assert first.joined(None) is first


def test_no_cost_says_that_less_is_enough_than_nothing():
    for loss in impls.losses():
        case = Case(loss.name, batch=64, dim=32, classes=10)
        assert least_arithmetic_seconds(case, ceilings()) > 0


def test_a_search_tree_may_exclude_pairs_of_a_mining_and_none_of_a_matrix():
    sizes = {"B": 64, "D": 32, "C": 100, "U": 16}
    for loss in ("triplet_batch_hard", "triplet_weighted", "triplet_weighted_unshifted"):
        assert impls.loss(loss).cost.least_flops(sizes) == 64 * 32
    assert impls.loss("pairwise_distance").cost.least_flops(sizes) > 64 * 64 * 32


@pytest.mark.parametrize("folder", KEPT, ids=[str(path.relative_to(ROOT)) for path in KEPT])
def test_no_kept_record_is_implausible(folder):
    for record in read_records(folder):
        if record.status != "passed" or record.ceilings is None or not record.registered:
            continue
        seconds = {
            "forward": record.forward.median_seconds,
            "step": record.step.median_seconds,
        }
        try:
            reason = check_plausibility(record.case, seconds, record.ceilings)
        except UsageError:
            continue
        assert not reason, (record.cell, reason)
