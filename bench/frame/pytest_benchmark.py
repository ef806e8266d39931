"""Read the files that pytest-benchmark saves for ``tests/perf``."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.frame.columns import CASE_COLUMNS
from lossbench.bench.frame.runs import record_row
from lossbench.bench.run.records import Record

SOURCE = "pytest-benchmark"
# Every file of pytest-benchmark begins with this key; other tools' files may be beside it.
FIRST_KEY = b'"machine_info"'
# Older files do not name the number of ranks, which is always 1 here.
KNOWN = tuple(name for name in CASE_COLUMNS if name != "ranks")
REQUIRED = ("machine", "commit", "made", *KNOWN, "variant")


class Stats(BaseModel):
    """The statistics of pytest-benchmark's own times, in seconds."""

    median: float


class Benchmark(BaseModel):
    """The times of one test, and the columns of ``extra_info``."""

    fullname: str
    stats: Stats
    extra_info: dict[str, str | int | float | bool | None]


class Document(BaseModel):
    """A file of pytest-benchmark."""

    benchmarks: list[Benchmark]


def extra_info(record: Record) -> dict[str, Any]:
    """Return the columns of a Record that a benchmark stores beside its own times."""
    own = ("source", "step_seconds")
    return {name: value for name, value in record_row(record).items() if name not in own}


def find(path: Path) -> Iterator[Path]:
    """Yield the files of pytest-benchmark at a path, or below it."""
    files = [path] if path.is_file() else sorted(path.rglob("*.json"))
    for each in files:
        with each.open("rb") as file:
            if FIRST_KEY in file.read(100):
                yield each


def rows(path: Path) -> list[dict[str, Any]]:
    """Return one row per benchmark of a file.

    Raises:
        UsageError: if it cannot be read, or is of other tests.
    """
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        raise UsageError(f"{path}: damaged; expected a file of pytest-benchmark") from None
    return benchmark_rows(document, str(path))


def benchmark_rows(document: Mapping[str, Any], run: str) -> list[dict[str, Any]]:
    """Return one row per benchmark: pytest-benchmark's median of the step, and ``extra_info``.

    Args:
        document: content of a file.
        run: path of the file.

    Raises:
        UsageError: if it is of other tests.
    """
    try:
        benchmarks = Document.model_validate(document).benchmarks
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UsageError(f"{run}: {field}: {first['msg']}; expected pytest-benchmark's") from None
    return [_row(benchmark, run) for benchmark in benchmarks]


def _row(benchmark: Benchmark, run: str) -> dict[str, Any]:
    missing = [name for name in REQUIRED if name not in benchmark.extra_info]
    if missing:
        raise UsageError(
            f"{run}: {benchmark.fullname}: expected a benchmark of tests/perf with "
            f"{', '.join(missing)} in its extra_info"
        )
    return {
        "ranks": Case.ranks,
        **benchmark.extra_info,
        "source": SOURCE,
        "run": run,
        "step_seconds": benchmark.stats.median,
    }
