"""Read the results of ``bench.suites`` that asv stores, in one file per commit and machine."""

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
# A refused variant has no figure except an error.
AGREED = {metric.name for metric in TRACKED if metric.compared != "error"}


class Results(BaseModel):
    """The file that asv stores for one commit on one machine.

    Attributes:
        commit_hash: hash of the measured commit.
        params: parameters of the machine and the environment, by name.
        result_columns: names of the entries of the lists in ``results``; a list may be shorter if
            its last entries are missing.
        results: list of entries, by name of the benchmark.
    """

    commit_hash: str
    params: dict[str, str | None]
    result_columns: list[str]
    results: dict[str, list[Any]]


def find(path: Path) -> Iterator[Path]:
    """Yield the files of results at a path, or below it; asv puts them beside ``machine.json``."""
    for each in [path] if path.is_file() else sorted(path.rglob("*.json")):
        if each.name != MACHINE and (each.parent / MACHINE).is_file():
            yield each


def rows(path: Path) -> list[dict[str, Any]]:
    """Return one row per cell of a file, without the skipped cells.

    The columns of 95% intervals are missing, because asv stores neither these nor the samples. It
    stores 99% intervals, and computes them as if one process had made all samples.

    Raises:
        UsageError: if the file cannot be read.
    """
    kept = _read(path)
    cells: dict[tuple[str, ...], dict[str, Any]] = {}
    for name, values in kept.results.items():
        if name.startswith(SUITES):
            _, _, loss, function = name.split(".")
            columns = dict(zip(kept.result_columns, values, strict=False))
            # An older file may have a figure that no longer exists, and has no column.
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
    """Add the figures of a benchmark to the rows of their cells."""
    places = list(itertools.product(*columns["params"]))
    # asv stores a list of failures alone as a missing list.
    for place, value in zip(places, columns["result"] or [None] * len(places), strict=True):
        if value is not None and math.isnan(value):
            continue
        row = cells.setdefault((loss, *place), _row(loss, place))
        row["made"] = max(row.get("made", ""), _time(columns["started_at"]))
        if value is not None:
            row[metric.name] = 1 / value if metric.asv and metric.asv.inverse else value


def _row(loss: str, place: tuple[str, ...]) -> dict[str, Any]:
    """Return the columns of a cell; asv stores parameters as Python literals."""
    parameters = dict(zip(PARAMETERS, map(ast.literal_eval, place), strict=True))
    kept = ("data", "seed", "autocast", "ranks")
    defaults = {name: getattr(Case, name) for name in kept}
    return {"loss": loss, **parameters, **defaults}


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _status(row: dict[str, Any]) -> dict[str, str]:
    """Return the status of a cell, derived from its figures: a refused one has only an error."""
    if row.keys() & AGREED:
        reference = {"verdict": REFERENCE} if row["variant"] == REFERENCE else {}
        return {"status": "passed", **reference}
    if "error" in row:
        return {"status": "refused", "reason": "its error exceeds its budget"}
    return {"status": "failed", "reason": "it failed under asv, which stores no reason"}
