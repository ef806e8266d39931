"""A Record and its parts, for the tests of what reads them."""

import math
from dataclasses import replace

from lossbench.bench.case.cases import Case
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.measure.agreement import Agreement
from lossbench.bench.measure.memory import Memory
from lossbench.bench.run.records import Record
from lossbench.bench.timing.samples import Samples, Timing

# As of a clean checkout, because the tests must pass while the code is being changed.
ENVIRONMENT = replace(current_environment(machine="here"), dirty=False, changes="")
TIMING = Timing((Samples(seconds=(2e-6, 3e-6), reference_seconds=(1e-6, 2e-6), calls=3),))
FIGURES = {"reference_error": 1e-8, "budget": 1e-7, "ulps": 1.0, "reference_ulps": 1.0, "draw": 0}
GOOD = Agreement("out.loss", error=1e-8, **FIGURES)
BAD = Agreement("out.loss", error=math.inf, **FIGURES)


def record(**changes):
    """Return a Record that passed, with some of its fields changed."""
    seen = {
        "case": Case("island", batch=4, dim=2, classes=3),
        "variant": "vectorized",
        "status": "passed",
        "environment": ENVIRONMENT,
        "made": "2026-01-02T03:04:05+00:00",
        "agreement": (GOOD,),
        "memory": Memory(1, 2, 3, 4),
        "forward": TIMING,
        "step": TIMING,
        "validated": True,
    }
    return Record(**{**seen, **changes})
