"""The common fields of reports stored as JSON: environment, time and sampling budget."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lossbench.bench.errors import UsageError
from lossbench.bench.machine.environment import Environment

Report = TypeVar("Report")

KEPT = ConfigDict(ser_json_inf_nan="strings", extra="forbid")
"""Settings of dataclasses that are written as JSON and must be read back unchanged."""


@dataclass(frozen=True, kw_only=True, config=KEPT)
class Stamped:
    """The base of a report.

    Attributes:
        environment: machine and software of the measurement.
        made: time of the report, ISO 8601 in UTC.
        budget_seconds: sampling time; each kind of report says for which part.
        schema: version of the report's layout. 1: the first.
    """

    environment: Environment
    made: str
    budget_seconds: float
    schema: int = 1

    def to_json(self) -> str:
        """Return the report as JSON."""
        return TypeAdapter(type(self)).dump_json(self, indent=1).decode() + "\n"


def load_report(path: Path, kind: type[Report], words: str) -> Report:
    """Return the report that a file keeps.

    Args:
        path: file of the report.
        kind: dataclass of the report.
        words: name of the kind in messages, such as ``a training matrix``.

    Raises:
        UsageError: if the file cannot be read, or holds something else.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected {words}") from error
    except ValidationError as error:
        raise UsageError(f"{path}: expected {words}, found something else") from error


def now() -> str:
    """Return the time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
