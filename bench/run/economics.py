"""Compute after how many steps compiling has paid for itself."""

import math
from collections.abc import Iterable, Sequence

from lossbench.bench.run.records import Record
from lossbench.impls.registry import REFERENCE


def normal_seconds(record: Record, reference: Record | None) -> float:
    """Return a variant's time of a step: the reference's time divided by the paired speed-up.

    The load of the machine changes times, but hardly their ratio. If the reference has no times,
    it is the median time of the variant; infinite if the variant has none.

    Args:
        record: Record of the variant.
        reference: Record of the reference in the same Case; ``None`` without one.
    """
    if record.step is None:
        return math.inf
    speedup = record.step.speedup
    if speedup is None or reference is None or reference.step is None:
        return record.step.median_seconds
    return reference.step.median_seconds / speedup.median


def reference_of(records: Iterable[Record]) -> Record | None:
    """Return the Record of the reference, or ``None``; all are of one Case."""
    return next((record for record in records if record.variant == REFERENCE), None)


def best_eager(records: Sequence[Record]) -> Record | None:
    """Return the fastest Record that is not compiled, or ``None``; all are of one Case."""
    eager = [record for record in records if record.step and not record.compiled]
    reference = reference_of(records)
    return min(eager, key=lambda record: normal_seconds(record, reference), default=None)


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
