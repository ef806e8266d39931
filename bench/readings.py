"""How the figures that are no plain field of a Record are read from it, or printed."""

from collections.abc import Callable
from typing import Any

from lossbench.bench.metric import Row

ABOVE_LIMIT = "no"
"""The value of ``below_limit`` for a time that is not below the machine's limit."""


def largest_error(found: Any) -> float | None:
    """Return the largest relative error of a Record's quantities."""
    return max((part.error for part in found.agreement), default=None)


def verdict(found: Any) -> str | None:
    """Return the verdict of a Record's step, or the name of the reference for itself."""
    from lossbench.impls.registry import REFERENCE

    if found.step is None:
        return None
    return REFERENCE if found.variant == REFERENCE else str(found.step.verdict)


def compile_process(found: Any) -> str | None:
    """Return whether a Record's compilation had a fresh process or a shared one."""
    if found.compilation is None:
        return None
    return "fresh" if found.compilation.fresh else "shared"


def step_limit(name: str) -> Callable[[Any], Any]:
    """Return the function that reads a field of the time limit of a Record's step."""

    def read(found: Any) -> Any:
        least = found.limit("step") if found.step else None
        return getattr(least, name) if least else None

    return read


def samples_of(phase: str) -> Callable[[Any], dict[str, Any] | None]:
    """Return the function that gives asv the samples of a phase, of one process."""

    def read(found: Any) -> dict[str, Any] | None:
        timing = getattr(found, phase)
        if timing is None:
            return None
        (process,) = timing.processes
        return {"samples": list(process.seconds), "number": process.calls}

    return read


def step_ratios(found: Any) -> dict[str, Any] | None:
    """Return the step's time over the reference's by round; ``None`` for the reference itself."""
    from lossbench.impls.registry import REFERENCE

    if found.step is None or found.variant == REFERENCE:
        return None
    (process,) = found.step.processes
    pairs = zip(process.seconds, process.reference_seconds, strict=True)
    return {"samples": [own / reference for own, reference in pairs], "number": process.calls}


def speedup_text(row: Row) -> str:
    """Return the speed-up of a step with its interval; empty for the reference."""
    from lossbench.bench.format import spread
    from lossbench.bench.marks import FEW_PROCESSES, signs
    from lossbench.bench.timing.intervals import Interval
    from lossbench.impls.registry import REFERENCE

    median, low, high = (row.get(f"step_speedup{end}") for end in ("", "_low", "_high"))
    if row["variant"] == REFERENCE or median is None:
        return ""
    # asv stores no 95% interval.
    if low is None or high is None:
        return f"{median:.3g}x"
    return spread(Interval(median, low, high)) + signs(row, [FEW_PROCESSES])


def limit_text(row: Row) -> str:
    """Return the share of the limit, what determines it, and why the time is below it."""
    share, excess = row.get("limit_share"), row.get("below_limit", ABOVE_LIMIT)
    if share is None:
        return ""
    words = f"{share:.0%} {row['bound']}"
    return words if excess == ABOVE_LIMIT else f"{words}, {excess}"


def below_limit(found: Any) -> str | None:
    """Return why a Record's step is below its limit; ``ABOVE_LIMIT`` if it is not."""
    excess = found.below_limit("step") if found.step else None
    return excess if excess is None else excess or ABOVE_LIMIT


def verdict_text(row: Row) -> str:
    """Return the verdict, or the status of a row without one."""
    return str(row.get("verdict") or row["status"])
