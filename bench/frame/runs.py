"""Read the runs of ``lossbench run``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossbench.bench.frame.columns import case_row
from lossbench.bench.metrics import figures
from lossbench.bench.run.reading import each_record
from lossbench.bench.run.records import RECORDS, Record


def find(path: Path) -> Iterator[Path]:
    """Yield the folders of runs at or below a folder, or the folder of a record file."""
    if path.name == RECORDS and path.is_file():
        yield path.parent
    yield from sorted(each.parent for each in path.rglob(RECORDS))


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield one row per Record of a run; only one Record is in memory at once.

    Raises:
        UsageError: if its records cannot be read.
    """
    for record in each_record(folder):
        yield {"run": str(folder), **record_row(record)}


def record_row(record: Record) -> dict[str, Any]:
    """Return the columns of a Record."""
    environment = record.environment
    return {
        "source": "run",
        "machine": environment.machine,
        "commit": environment.commit,
        "dirty": environment.dirty,
        "validated": record.validated if record.step else None,
        "elsewhere": record.step.elsewhere if record.step else None,
        "made": record.made,
        "threads": environment.threads,
        "cpu": environment.cpu,
        "gpu": environment.gpu,
        "hardware": environment.hardware(record.case.device),
        "torch": environment.torch,
        **case_row(record.case),
        "variant": record.variant,
        "origin": str(record.origin) if record.origin else None,
        "status": record.status,
        "reason": record.reason,
        **figures(record),
    }
