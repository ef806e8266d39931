"""Compute after how many steps compiling has paid for itself."""

import math
from collections.abc import Iterable

from lossbench.bench.run.records import Record


def best_eager(records: Iterable[Record]) -> Record | None:
    """Return the fastest Record that is not compiled, or ``None``; all are of one Case."""
    eager = [record for record in records if record.step and not record.compiled]
    return min(eager, key=_step_seconds, default=None)


def break_even_steps(
    compile_seconds: float, compiled_step_seconds: float, eager_step_seconds: float
) -> float:
    """Return the number of steps after which compiling has paid for itself.

    It is ``compile_seconds / (eager step - compiled step)``, rounded up, or infinity if the
    compiled step is not shorter.
    """
    saved = eager_step_seconds - compiled_step_seconds
    # The division rounds in the last digits, and rounding up must not make a step of that.
    return math.ceil(compile_seconds / saved * (1 - 1e-12)) if saved > 0 else math.inf


def _step_seconds(record: Record) -> float:
    return record.step.median_seconds if record.step else math.inf
