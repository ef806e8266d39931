"""What the pages of the board show of rows, cells and machines, as text and as plain numbers."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from lossbench.bench.board.rows import BoardRow
from lossbench.bench.board.sources import BoardRecords
from lossbench.bench.case.cases import Case
from lossbench.bench.choose.sources import Host, Pool
from lossbench.bench.choose.text import alternative_line
from lossbench.bench.format import binary, si, spread
from lossbench.bench.frame.runs import record_row
from lossbench.bench.marks import FEW_PROCESSES, OF_THE_VARIANT, signs
from lossbench.bench.metrics import SHOWN, derived
from lossbench.bench.run.records import Record
from lossbench.impls.registry import REFERENCE

View = dict[str, Any]


def page_of(loss: str) -> str:
    """Return the name of the page of a registered Loss."""
    return f"{loss}.html"


def row_view(row: BoardRow, machine: str, sources: BoardRecords) -> View:
    """Return what a row shows, with the figures that ``choose`` and the report print.

    Args:
        row: row of the board.
        machine: label of its machine.
        sources: Records of the board, and who measured them.
    """
    best, ranking = row.best, row.ranking
    return {
        **_where(row.case),
        "machine": machine,
        "host": str(row.pool.host),
        "variant": best.variant,
        "name": best.variant + signs(vars(best), OF_THE_VARIANT),
        "step_seconds": best.step_seconds,
        "step": si(best.step_seconds, "s"),
        **_speedup(row),
        "step_peak_bytes": best.step_peak_bytes,
        "peak": binary(best.step_peak_bytes),
        "verdict": ranking.verdict,
        "rival": ranking.rival.candidate.variant if ranking.rival else "",
        "others": [alternative_line(each) for each in row.others],
        **_origin(row.record, sources),
    }


def _speedup(row: BoardRow) -> View:
    names = ("step_speedup", "step_speedup_low", "step_speedup_high")
    interval = row.best.speedup
    if interval is None or row.best.variant == REFERENCE:
        return {**dict.fromkeys(names, 1.0 if interval else None), "speedup": "1" * bool(interval)}
    figures = (interval.median, interval.low, interval.high)
    text = spread(interval) + signs(vars(row.best), [FEW_PROCESSES])
    return {**dict(zip(names, figures, strict=True)), "speedup": text}


def cell_view(record: Record, recommended: str | None, sources: BoardRecords) -> View:
    """Return what a cell shows, with the figures of every table.

    Args:
        record: Record of the cell.
        recommended: name of the variant that is recommended at its size; ``None`` without one.
        sources: Records of the board, and who measured them.
    """
    row = record_row(record)
    row |= derived(row)
    return {
        **row,
        **_where(record.case),
        "name": record.variant + signs(row, OF_THE_VARIANT),
        "recommended": record.variant == recommended,
        "texts": {metric.name: metric.cell(row) for metric in SHOWN},
        **_origin(record, sources),
    }


def machine_view(host: Host, machine: str, pools: Iterable[Pool], sources: BoardRecords) -> View:
    """Return what is shown of a machine: who measured on it, how much, when, at which commits.

    Args:
        host: the machine.
        machine: label of the machine.
        pools: Records of the machine, by Loss, dtype and data.
        sources: Records of the board, and who measured them.
    """
    records = [record for pool in pools for record in pool.records]
    dates = sorted({record.made[:10] for record in records})
    return {
        "machine": machine,
        "host": str(host),
        "by": ", ".join(sorted({sources.measured_by(record) for record in records})),
        "cells": len(records),
        "dates": " to ".join(dict.fromkeys((dates[0], dates[-1]))),
        "commits": ", ".join(sorted({_commit(record) for record in records})),
    }


def _where(case: Case) -> View:
    return {
        **asdict(case),
        "size": f"{case.batch}×{case.dim}, C={case.classes}",
        "precision": case.precision,
        "page": page_of(case.loss),
    }


def _origin(record: Record, sources: BoardRecords) -> View:
    return {
        "by": sources.measured_by(record),
        "date": record.made[:10],
        "commit": _commit(record),
        "revision": record.environment.revision or "no checkout",
    }


def _commit(record: Record) -> str:
    return record.environment.commit[:7] or "unknown"
