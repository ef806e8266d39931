"""Read the Records of a run, of this schema and of former ones."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lossbench.bench.collector import paused_collector
from lossbench.bench.errors import UsageError
from lossbench.bench.printable import printable
from lossbench.bench.run.former import READERS, SCHEMA, upgrade
from lossbench.bench.run.records import RECORDS, Record, RecordLine

LONGEST_SCHEMA = 80


def read_records(folder: Path, loss: str = "") -> list[Record]:
    """Return the Records of a run's folder.

    A killed run can leave a last line without an end. It is no Record, and is skipped.

    Args:
        folder: folder of the run.
        loss: name of the only Loss to read; empty for all.

    Raises:
        UsageError: if the file cannot be read, or any other line is no Record of a known schema.
    """
    with paused_collector():
        return list(each_record(folder, loss))


def each_record(folder: Path, loss: str = "") -> Iterator[Record]:
    """Yield the Records that ``read_records`` returns, one after the other.

    Raises:
        UsageError: if the file cannot be read, or a line is no Record of a known schema.
    """
    path = folder / RECORDS
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected the records of a run") from error
    with file:
        yield from parse_records(file, str(path), loss)


def parse_records(lines: Iterable[bytes], place: str, loss: str = "") -> Iterator[Record]:
    """Yield the Records of lines of JSON; a line without an end is no Record, and is skipped.

    Args:
        lines: lines of a record file, with their ends.
        place: name of the file, for error messages.
        loss: name of the only Loss to read; lines that do not name it are not parsed.

    Raises:
        UsageError: if a line is no Record of a known schema.
    """
    named = json.dumps(loss).encode() if loss else b""
    for number, line in enumerate(lines, 1):
        if line.endswith(b"\n") and named in line:
            record = _parse(f"{place}, line {number}", line)
            if loss in ("", record.case.loss):
                yield record


def _parse(place: str, line: bytes) -> Record:
    try:
        record = RecordLine.model_validate_json(line).root
    except ValidationError as error:
        return _parse_former(place, line, error)
    return record if record.schema == SCHEMA else _parse_former(place, line)


def _parse_former(place: str, line: bytes, error: ValidationError | None = None) -> Record:
    """Return a Record of a former schema, or raise an error that says what cannot be read.

    Args:
        place: file and number of the line.
        line: JSON of a Record.
        error: error of the current schema, if it could not read the line.

    Raises:
        UsageError: if the line is no Record of a former schema.
    """
    document = _document(place, line)
    schema = document.get("schema")
    if error and schema == SCHEMA:
        raise UsageError(f"{place}: {_fault(error)}; {_other_version(document)}")
    if not isinstance(schema, int) or schema not in READERS:
        readable = ", ".join(map(str, [*READERS, SCHEMA]))
        raise UsageError(
            f"{place}: schema {printable(repr(schema), LONGEST_SCHEMA)}; "
            f"this version reads schemas {readable}; {_other_version(document)}"
        )
    try:
        return RecordLine.model_validate(upgrade(document)).root
    except ValidationError as fault:
        raise UsageError(
            f"{place}: schema {schema}: {_fault(fault)}; {_other_version(document)}"
        ) from None
    except (KeyError, TypeError, AttributeError) as fault:
        raise UsageError(
            f"{place}: schema {schema}: expected its fields, got {fault!r}; "
            f"{_other_version(document)}"
        ) from None


def _document(place: str, line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UsageError(
            f"{place}: damaged, expected a record as JSON; move it to another file, and the "
            "other lines can be read"
        )
    return document


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))


def _other_version(document: Mapping[str, Any]) -> str:
    """Return a hint on the commit that can read a record, for an error message."""
    environment = document.get("environment")
    commit = environment.get("commit") if isinstance(environment, dict) else None
    return f"commit {commit} wrote it, and can read it" if commit else "it names no commit"
