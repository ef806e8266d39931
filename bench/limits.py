"""Time limits in seconds of a worker's tasks; a worker that exceeds one is stopped.

A limit that is hit loses a result, so each is far above the time of its task on a slow machine. A
task that hangs delays the run by its limit, so no limit is higher than needed.
"""

VARIANT_SECONDS = 300.0
"""Checking one variant of a Case, in a run and in asv; torch.compile alone may take a minute."""

COMMAND_SECONDS = 600.0
"""One variant in `agreement`, `conformance`, `count` and `profile`, which run many steps of it."""

COMPAT_SECONDS = 1200.0
"""One implementation in `compat`, which compiles a compiled one for several sizes and dtypes."""

GATE_SECONDS = 120.0
"""One variant of one tree in the gate, whose sizes are small."""

SELFTEST_SECONDS = 120.0
"""One pair, or one start of a worker, in the self-test."""

SCALING_SECONDS = 60.0
"""One measurement, or one trial of a batch, in `scaling`, which makes dozens of them."""

SITUATION_SECONDS = 120.0
"""One implementation in one situation of a training loop, in `conformance --training`."""

TRAINING_SECONDS = 3600.0
"""One training in `train`."""

DRAWING_SECONDS = 600.0
"""The plots of one report, where a worker draws them."""

# A multiple of the budget also covers warm-up, set-up, and calls that are longer than the budget.
SAMPLING_FACTOR = 10


def sampling_seconds(limit: float, budget_seconds: float, phases: int = 2) -> float:
    """Return the limit of a task that also samples times.

    Args:
        limit: limit without sampling, in seconds.
        budget_seconds: sampling time of each phase, in seconds.
        phases: number of phases, which are sampled one after the other.
    """
    return limit + SAMPLING_FACTOR * phases * budget_seconds
