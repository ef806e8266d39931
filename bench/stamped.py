"""The common fields of reports stored as JSON: environment, time and sampling budget."""

from datetime import UTC, datetime

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from lossbench.bench.machine.environment import Environment

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


def now() -> str:
    """Return the time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
