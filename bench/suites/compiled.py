"""A suite a Loss, ``suites.compiled.arcface``: its ``+compile`` variants, at one size."""

from lossbench.bench.suites.parameters import COMPILED, COMPILED_BATCHES, MODES
from lossbench.bench.suites.suite import make_suite

globals().update(
    {
        loss: make_suite(
            loss,
            tuple(variant + mode for variant in variants for mode in MODES),
            COMPILED_BATCHES,
            compiled=True,
        )
        for loss, variants in COMPILED.items()
    }
)
