"""Make records for the tests of ``choose``."""

import math
from dataclasses import replace
from functools import cache

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.answer import answer
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.sources import Host, choose_pools, load_records, pools_of
from lossbench.bench.measure.agreement import Agreement
from lossbench.bench.measure.compilation import Compilation
from lossbench.bench.measure.memory import Memory
from lossbench.bench.paths import ROOT
from lossbench.bench.timing.samples import Samples, Timing
from tests.makers.records import ENVIRONMENT, FIGURES, record

FULL = ROOT / "results" / "2-core-epyc" / "full"
HERE = Host.of(ENVIRONMENT, "cpu")
ISLAND = Case("island", batch=64, dim=128, classes=100)
ROUNDS = 60


def timing(seconds, *, drift=0.0, noise=0.002, reference=1e-3):
    """Return times in rounds; a drifting machine disturbs both times of a round alike."""
    load = [math.exp(drift * math.sin(i)) for i in range(ROUNDS)]
    own = tuple(seconds * x * math.exp(noise * (-1) ** i) for i, x in enumerate(load))
    return Timing((Samples(own, tuple(reference * x for x in load), 1),))


def seen(variant, seconds, case=ISLAND, **changes):
    options = {"peak": 1000, "error": 1e-8, "outputs": ("loss",), "compile_seconds": None}
    options |= {key: changes.pop(key) for key in list(changes) if key in options}
    taken = timing(
        seconds,
        **{k: changes.pop(k) for k in list(changes) if k in ("noise", "drift", "reference")},
    )
    cost = options["compile_seconds"]
    return record(
        case=case,
        variant=variant,
        agreement=tuple(
            Agreement(f"out.{name}", error=options["error"], **FIGURES)
            for name in options["outputs"]
        ),
        memory=Memory(options["peak"], options["peak"], 1, 1),
        compilation=Compilation(cost, 1, 0, cached=False, sweep=(), recompiles=0)
        if cost is not None
        else None,
        forward=taken,
        step=taken,
        **changes,
    )


def lost(variant, case=ISLAND, status="oom", reason="no memory"):
    nothing = {"agreement": (), "memory": None, "forward": None, "step": None}
    return record(case=case, variant=variant, status=status, reason=reason, **nothing)


@cache
def full():
    """Return real records of a whole run."""
    return load_records([FULL])


def elsewhere(records, name="there", **changes):
    """Return the records as if another machine had made them."""
    environment = replace(ENVIRONMENT, machine=name, **changes)
    return [replace(record, environment=environment) for record in records]


def ask(records, case=ISLAND, here=None, **constraints):
    pools = choose_pools(pools_of(records, case), case, "", here or HERE)
    return answer(pools, Request(case, **constraints), here)


THREE = [seen("reference", 1e-3), seen("vectorized", 5e-4), seen("fused", 2e-4)]

ARC = Case("arcface", 64, 128, 100)
HEADS = [
    seen("reference", 1e-3, ARC, outputs=("loss", "logits"), peak=4000),
    seen("vectorized", 5e-4, ARC, outputs=("loss", "logits"), peak=2000, error=2e-8),
    seen("fused", 2e-4, ARC, peak=3000, error=5e-8),
    seen("vectorized+compile", 1e-4, ARC, peak=5000, error=9e-8, compile_seconds=6.0),
]


def at_batches(variant, seconds, batches=(16, 32, 64, 128, 256, 512, 1024), **changes):
    """Return records of a variant over batches; the reference takes 1 us a sample.

    Args:
        seconds: function from the batch to the time of a step.
    """
    return [
        seen(variant, seconds(b), replace(ISLAND, batch=b), reference=1e-6 * b, **changes)
        for b in batches
    ]


CROSSING = [
    *at_batches("reference", lambda b: 1e-6 * b),
    *at_batches("fused", lambda b: 1e-7 * b),
    *at_batches("vectorized", lambda b: 2e-5 + 2e-8 * b),
]
