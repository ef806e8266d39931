"""A suite a Loss, ``suites.eager.arcface``: its variants that are not compiled."""

from bench.suites.parameters import BATCHES, EAGER
from bench.suites.suite import METRICS, make_suite

globals().update(
    {loss: make_suite(loss, variants, BATCHES, METRICS) for loss, variants in EAGER.items()}
)
