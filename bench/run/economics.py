"""What compiling is worth: after how many steps it has paid for itself."""

import math
from collections.abc import Iterable

from lossbench.bench.run.records import Record


def best_eager(records: Iterable[Record]) -> Record | None:
    """Return the fastest of a Case's Records that is not compiled, or ``None``."""
    eager = [record for record in records if record.step and not record.compiled]
    return min(eager, key=_step_seconds, default=None)


def break_even_steps(
    compile_seconds: float, compiled_step_seconds: float, eager_step_seconds: float
) -> float:
    """Return after how many whole steps a compiled variant has taken less time than an eager one.

    ``compile_seconds / (eager step - compiled step)``, rounded up; infinite where the compiled step
    is not the shorter one.
    """
    saved = eager_step_seconds - compiled_step_seconds
    # Division leaves rounding in the last digits, which is no step.
    return math.ceil(compile_seconds / saved * (1 - 1e-12)) if saved > 0 else math.inf


def _step_seconds(record: Record) -> float:
    return record.step.median_seconds if record.step else math.inf
