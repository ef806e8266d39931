"""Figures that cannot be true are refused, and no honest ones."""

import math
from dataclasses import replace

import pytest

from lossbench.bench.choose.sources import load_records
from lossbench.bench.format import binary
from lossbench.bench.measure.agreement import Agreement
from lossbench.bench.measure.ceilings import Ceilings
from lossbench.bench.measure.counters import Counters
from lossbench.bench.measure.memory import Memory
from lossbench.bench.paths import ROOT
from lossbench.bench.submit.possible import impossibilities
from lossbench.bench.timing.samples import Samples, Timing
from lossbench.impls.outside import Origin
from tests.makers.records import BAD
from tests.makers.submissions import CASE, CEILINGS, possible, times

SHIPPED = ROOT / "results" / "2-core-epyc" / "contenders"


def equal_samples():
    return Timing((Samples((5e-4,) * 20, (1e-3,) * 20, 1),))


def lenient(part, **changes):
    return replace(part, budget=1.0, error=0.5, **changes)


FUSED = possible("fused")
IMPOSSIBLE = {
    "too fast": ({"step": times(1e-9), "forward": times(1e-9)}, "implausible: a forward of"),
    "below the limit": (
        {
            "case": replace(CASE, classes=100_000, dim=512),
            "memory": Memory(2**30, 2**30, 3000, 10),
            "ceilings": replace(CEILINGS, flops_per_second={"float32": 1e16}),
        },
        "is below the machine's limit, and no honest reason is known",
    ),
    "a step without its forward": ({"step": times(0.1)}, "takes less time than the forward"),
    "no clock": ({"step": equal_samples()}, "all samples of its step are equal"),
    "no times": ({"step": None}, "it passed, and has no times"),
    "no ceilings": ({"ceilings": None}, "no rates of its machine"),
    "a product of nowhere": (
        {"ceilings": replace(CEILINGS, flops_per_second={"float32": 1e18})},
        "no machine has a rate of 1.0e+18 a second for float32",
    ),
    "a copy of nowhere": (
        {"ceilings": replace(CEILINGS, bytes_per_second=1e15)},
        "no machine has a rate of 1.0e+15 a second for bytes",
    ),
    "no rate": ({"ceilings": replace(CEILINGS, bytes_per_second=0.0)}, "a rate of 0.0e+00 a sec"),
    "rates of nothing": (
        {"ceilings": Ceilings({}, 1e10, {})},
        "its machine's rates lack forward, step, float32",
    ),
    "a busy machine": (
        {"ceilings": replace(CEILINGS, elsewhere=1.0)},
        "its machine was busy while its rates were measured",
    ),
    "a call of nowhere": (
        {"ceilings": Ceilings({"float32": 1e11}, 1e10, {"forward": 1e-9, "step": 1e-9})},
        "no machine calls a module in 1.0e-09 s",
    ),
    "no gradients": (
        {"memory": Memory(100, 100, 50, 10, kept_bytes=0)},
        "a peak of 100 B, where its gradients alone take 2.31 KiB",
    ),
    "more than it had": ({"memory": Memory(5000, 9000, 6000, 10)}, "saves more bytes than it ever"),
    "more than there is": (
        {"memory": Memory(2**60, 2**60, 50, 10)},
        f"a peak of {binary(2**60)}, more than its machine has",
    ),
    "no operator": ({"counters": Counters(0, 0)}, "a count that no step has"),
    "no counts": ({"memory": None}, "its bytes and operators were not counted"),
    "not compared": ({"agreement": FUSED.agreement[:1]}, "was not compared with the definition in"),
    "a lenient budget": (
        {"agreement": tuple(map(lenient, FUSED.agreement))},
        "is 1.0e+00, more than the rule gives",
    ),
    "a budget of nothing": (
        {
            "agreement": tuple(
                replace(lenient(p), reference_error=math.nan) for p in FUSED.agreement
            )
        },
        "is 1.0e+00, more than the rule gives",
    ),
    "no such variant": ({"variant": "ultra"}, "the registry has no variant 'ultra' of 'arcface'"),
    "from outside": ({"origin": Origin("/x.py", "ab")}, "a contender from outside"),
    "no such dtype": ({"case": replace(CASE, dtype="int3")}, "unknown dtype or device: int3, cpu"),
    "a huge case": ({"case": replace(CASE, batch=2**40)}, "batch is 1099511627776, and the most"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_true_is_refused(name):
    changes, reason = IMPOSSIBLE[name]
    assert list(impossibilities(FUSED)) == []
    assert any(reason in found for found in impossibilities(replace(FUSED, **changes)))


def test_a_reference_that_is_faster_than_itself_is_refused():
    faster = possible("reference", factor=0.9)
    assert list(impossibilities(possible("reference"))) == []
    assert "the reference's step is not as fast as itself" in list(impossibilities(faster))


def test_a_variant_without_times_claims_nothing():
    nothing = {"agreement": (BAD,), "step": None, "forward": None, "memory": None}
    refused = replace(FUSED, status="refused", ceilings=None, **nothing)
    assert list(impossibilities(refused)) == []


def test_no_shipped_record_is_called_impossible():
    for record in load_records([SHIPPED]):
        assert list(impossibilities(record)) == []


def test_agreement_that_overflows_with_its_reference_is_possible():
    infinite = {"error": math.inf, "reference_error": math.inf, "budget": math.inf}
    parts = [
        Agreement(p.quantity, **infinite, ulps=1.0, reference_ulps=1.0, draw=0)
        for p in FUSED.agreement
    ]
    assert list(impossibilities(replace(FUSED, agreement=tuple(parts)))) == []
