"""Rows of the runs of ``lossbench run``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossbench.bench.frame.columns import case_row
from lossbench.bench.run.records import RECORDS, Record, each_record
from lossbench.bench.timing.samples import Timing
from lossbench.impls.variant import REFERENCE


def find(path: Path) -> Iterator[Path]:
    """Yield the runs in a folder, itself included, by path; or the one whose record file it is."""
    if path.name == RECORDS and path.is_file():
        yield path.parent
    yield from sorted(each.parent for each in path.rglob(RECORDS))


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row a Record of a run, without holding more than one Record.

    Raises:
        UsageError: where its records cannot be read.
    """
    for record in each_record(folder):
        yield {"run": str(folder), **record_row(record)}


def record_row(record: Record) -> dict[str, Any]:
    """Return the columns that a Record has."""
    environment, worst = record.environment, record.worst
    row: dict[str, Any] = {
        "source": "run",
        "machine": environment.machine,
        "commit": environment.commit,
        "dirty": environment.dirty,
        "made": record.made,
        "threads": environment.threads,
        "cpu": environment.cpu,
        "gpu": environment.gpu,
        "torch": environment.torch,
        **case_row(record.case),
        "variant": record.variant,
        "origin": str(record.origin) if record.origin else None,
        "status": record.status,
        "reason": record.reason,
    }
    if worst:
        row["error"] = max(part.error for part in record.agreement)
        row["budget_share"] = worst.error / worst.budget
        row["worst_quantity"] = worst.quantity
    if record.memory:
        row["step_peak_bytes"] = record.memory.step_peak_bytes
        row["forward_peak_bytes"] = record.memory.forward_peak_bytes
        row["saved_bytes"] = record.memory.saved_bytes
        row["allocations"] = record.memory.allocations
    if record.counters:
        row["operators"] = record.counters.operators
        row["synchronisations"] = record.counters.synchronisations
    if record.compilation:
        row["compile_seconds"] = record.compilation.compile_seconds
    if record.warm_compilation:
        row["warm_compile_seconds"] = record.warm_compilation.compile_seconds
    return row | _times(record)


def _times(record: Record) -> dict[str, Any]:
    if record.step is None or record.forward is None:
        return {}
    row = {
        "verdict": REFERENCE if record.variant == REFERENCE else record.step.verdict,
        "processes": len(record.step.processes),
        **_timing("step", record.step),
        **_timing("forward", record.forward),
    }
    least = record.limit("step")
    if least:
        row |= {"limit_seconds": least.seconds, "bound": least.bound}
    return row


def _timing(phase: str, timing: Timing) -> dict[str, float]:
    row = {f"{phase}_seconds": timing.median_seconds}
    if timing.speedup:
        row[f"{phase}_speedup"] = timing.speedup.median
        row[f"{phase}_speedup_low"] = timing.speedup.low
        row[f"{phase}_speedup_high"] = timing.speedup.high
    return row
