"""A suite a Loss, ``suites.eager.arcface``: its variants that are not compiled."""

from lossbench.bench.suites.parameters import ASV_BATCHES, EAGER
from lossbench.bench.suites.suite import make_suite

globals().update(
    {
        loss: make_suite(loss, variants, ASV_BATCHES, compiled=False)
        for loss, variants in EAGER.items()
    }
)
