"""The manifest of a bundle: who measured, in which environments, and the checksums."""

import hashlib
from collections.abc import Iterable

from pydantic.dataclasses import dataclass

from lossbench.bench.machine.environment import Environment
from lossbench.bench.run.records import Record
from lossbench.bench.stamped import KEPT

BUNDLE_SCHEMA = 1


@dataclass(frozen=True, config=KEPT)
class Checksum:
    """The size and the hash of a member of a bundle.

    Attributes:
        size: number of bytes.
        sha256: hash of the bytes, in hexadecimal.
    """

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> "Checksum":
        """Return the checksum of some bytes."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, config=KEPT)
class Manifest:
    """The content of a bundle.

    Attributes:
        by: name of who measured.
        lossbench: version of lossbench that made the bundle.
        environments: environments of the Records, without duplicates.
        files: checksums of the plan and the records, by the name of the member.
        schema: version of this layout. 1: the first.
    """

    by: str
    lossbench: str
    environments: tuple[Environment, ...]
    files: dict[str, Checksum]
    schema: int = BUNDLE_SCHEMA


def environments_of(records: Iterable[Record]) -> tuple[Environment, ...]:
    """Return the environments of Records, without duplicates, in order."""
    found: list[Environment] = []
    for record in records:
        if record.environment not in found:
            found.append(record.environment)
    return tuple(found)
