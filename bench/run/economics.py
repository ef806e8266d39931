"""What compiling is worth: after how many steps it has paid for itself."""

import math
from collections.abc import Iterable

from lossbench import impls
from lossbench.bench.run.records import Record


def best_eager(records: Iterable[Record]) -> Record | None:
    """Return the fastest of a Case's Records that is not compiled, or ``None``."""
    eager = [
        record
        for record in records
        if record.step and not impls.implementation(record.case.loss, record.variant).mode
    ]
    return min(eager, key=_step_seconds, default=None)


def break_even_steps(compiled: Record, eager: Record) -> float:
    """Return after how many steps a compiled variant has taken less time than an eager one.

    ``compile_seconds / (eager step - compiled step)`` with nothing in the cache; infinite where
    the compiled step is not the shorter.

    Raises:
        ValueError: where one was not timed, or the first was not compiled.
    """
    if compiled.compilation is None:
        raise ValueError(f"{compiled.variant} was not compiled")
    saved = _step_seconds(eager) - _step_seconds(compiled)
    return compiled.compilation.compile_seconds / saved if saved > 0 else math.inf


def _step_seconds(record: Record) -> float:
    if record.step is None:
        raise ValueError(f"{record.variant} has no times")
    return record.step.median_seconds
