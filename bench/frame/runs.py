"""Rows of the runs of ``lossbench run``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lossbench.bench.frame.columns import case_row
from lossbench.bench.metrics import figures
from lossbench.bench.run.records import RECORDS, Record, each_record


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
    environment = record.environment
    return {
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
        **figures(record),
    }
