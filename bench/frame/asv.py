"""Rows of the results that asv keeps of ``bench.suites``: a file for each commit and machine."""

import ast
import itertools
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.metric import Metric
from lossbench.bench.metrics import TRACKED
from lossbench.bench.suites.suite import PARAMETERS
from lossbench.impls.registry import REFERENCE

MACHINE = "machine.json"
SUITES = ("suites.eager.", "suites.compiled.")
BENCHMARKS = {f"track_{metric.asv_name}": metric for metric in TRACKED}
# What is refused has an error alone.
AGREED = {metric.name for metric in TRACKED if metric.compared != "error"}


class Results(BaseModel):
    """What asv keeps of one commit on one machine.

    Attributes:
        commit_hash: of what was measured.
        params: of the machine and the environment, by name.
        result_columns: what the lists of ``results`` hold; they end where all else is missing.
        results: a list a benchmark.
    """

    commit_hash: str
    params: dict[str, str | None]
    result_columns: list[str]
    results: dict[str, list[Any]]


def find(path: Path) -> Iterator[Path]:
    """Yield the files of results at a path, or below it: those beside a machine's own."""
    for each in [path] if path.is_file() else sorted(path.rglob("*.json")):
        if each.name != MACHINE and (each.parent / MACHINE).is_file():
            yield each


def rows(path: Path) -> list[dict[str, Any]]:
    """Return a row a cell of a file. What was skipped has none.

    The columns of 95% intervals are missing: asv keeps those of 99%, of the samples of all its
    processes as if they were of one, and no samples to take others from.

    Raises:
        UsageError: where it cannot be read.
    """
    kept = _read(path)
    cells: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, values in kept.results.items():
        if name.startswith(SUITES):
            _, _, loss, function = name.split(".")
            columns = dict(zip(kept.result_columns, values, strict=False))
            # A figure that is measured no longer has no column either.
            if metric := BENCHMARKS.get(function):
                _add(cells, loss, metric, columns)
    common = {
        "source": "asv",
        "run": str(path),
        "machine": kept.params.get("machine"),
        "cpu": kept.params.get("cpu"),
        "torch": kept.params.get("torch"),
        "commit": kept.commit_hash,
    }
    return [{**common, **row, **_status(row)} for row in cells.values()]


def _read(path: Path) -> Results:
    try:
        return Results.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: {field}: {first['msg']}; expected results of asv") from None
    except ValueError:
        raise UsageError(f"{path}: damaged; expected results of asv") from None


def _add(
    cells: dict[tuple[str, ...], dict[str, Any]],
    loss: str,
    metric: Metric,
    columns: dict[str, Any],
) -> None:
    """Add a benchmark's figures to the rows of their cells."""
    places = list(itertools.product(*columns["params"]))
    # A list of nothing but failures is kept as none.
    for place, value in zip(places, columns["result"] or [None] * len(places), strict=True):
        if value is not None and math.isnan(value):
            continue
        row = cells.setdefault((loss, *place), _row(loss, place))
        row["made"] = max(row.get("made", ""), _time(columns["started_at"]))
        if value is not None:
            row[metric.name] = 1 / value if metric.asv and metric.asv.inverse else value


def _row(loss: str, place: tuple[str, ...]) -> dict[str, Any]:
    """Return the columns of a cell; asv keeps parameters as they are written in Python."""
    parameters = dict(zip(PARAMETERS, map(ast.literal_eval, place), strict=True))
    defaults = {"data": Case.data, "seed": Case.seed, "autocast": Case.autocast}
    return {"loss": loss, **parameters, **defaults}


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _status(row: dict[str, Any]) -> dict[str, str]:
    """Return what the figures of a cell tell of it: one that is refused has an error alone."""
    if row.keys() & AGREED:
        reference = {"verdict": REFERENCE} if row["variant"] == REFERENCE else {}
        return {"status": "passed", **reference}
    if "error" in row:
        return {"status": "refused", "reason": "its error is beyond its budget"}
    return {"status": "failed", "reason": "it failed under asv, which does not keep why"}
