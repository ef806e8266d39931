"""What reports that are kept as JSON have in common: where they were made, when, and how long."""

from datetime import UTC, datetime

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from lossbench.bench.machine.environment import Environment

KEPT = ConfigDict(ser_json_inf_nan="strings", extra="forbid")
"""Of what is written as JSON and must come back as it was."""


@dataclass(frozen=True, kw_only=True, config=KEPT)
class Stamped:
    """What was found somewhere, at some time.

    Attributes:
        environment: where and with what.
        made: when, ISO 8601 in UTC.
        budget_seconds: how long what was timed could be sampled.
        schema: the version of the report's layout. 1: the first.
    """

    environment: Environment
    made: str
    budget_seconds: float
    schema: int = 1

    def to_json(self) -> str:
        """Return it as JSON."""
        return TypeAdapter(type(self)).dump_json(self, indent=1).decode() + "\n"


def now() -> str:
    """Return the time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
