"""One suite per Loss with its variants that are not compiled: ``suites.eager.arcface``."""

from lossbench.bench.suites.parameters import ASV_BATCHES, EAGER
from lossbench.bench.suites.suite import make_suite

globals().update(
    {
        loss: make_suite(loss, variants, ASV_BATCHES, compiled=False)
        for loss, variants in EAGER.items()
    }
)
