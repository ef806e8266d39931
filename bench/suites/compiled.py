"""One suite per Loss with its ``+compile`` variants at one size: ``suites.compiled.arcface``."""

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
