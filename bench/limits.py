"""Time limits: how long a worker may take over one question before it is given up.

Each is far above what the question takes on a slow machine, since a limit that is hit costs a
result, and low enough that a hang does not cost the run.
"""

VARIANT_SECONDS = 300.0
"""Judging one variant of a Case, in a run and in asv: a cold torch.compile takes up to a minute."""

COMMAND_SECONDS = 600.0
"""One variant in `agreement`, `count` and `profile`, which take many steps of it."""

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

# A warm-up, the set-up of every module, and calls that are longer than the budget itself.
SAMPLING_FACTOR = 10


def sampling_seconds(limit: float, budget_seconds: float, phases: int = 2) -> float:
    """Return the limit of a question that also samples times.

    Args:
        limit: the limit in seconds without any sampling.
        budget_seconds: how long each phase may be sampled, in seconds.
        phases: how many phases are sampled, one after the other.
    """
    return limit + SAMPLING_FACTOR * phases * budget_seconds
