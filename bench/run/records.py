"""Records: what was seen of one Implementation in one Case, and the file that keeps them.

A run is a folder with ``plan.json`` (what was asked) and ``records.jsonl``, to which each Record is
appended, flushed and synced as it is made.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, RootModel, ValidationError
from pydantic.dataclasses import dataclass

from lossbench.bench.case.cases import DTYPES, Case
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.environment import Environment
from lossbench.bench.measure.agreement import Agreement
from lossbench.bench.measure.ceilings import Ceilings, Limit, limit
from lossbench.bench.measure.compilation import Compilation, WarmCompilation
from lossbench.bench.measure.conformance import Conformance
from lossbench.bench.measure.counters import Counters
from lossbench.bench.measure.memory import Memory
from lossbench.bench.printable import printable
from lossbench.bench.run.former import READERS, SCHEMA, upgrade
from lossbench.bench.run.order import is_registered
from lossbench.bench.timing.samples import Timing
from lossbench.impls.compiled import is_compiled
from lossbench.impls.cost import Phase
from lossbench.impls.outside import Origin

RECORDS = "records.jsonl"
LONGEST_SCHEMA = 80

Status = Literal[
    "passed", "refused", "departs", "unsupported", "failed", "crashed", "oom", "timeout"
]


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings", extra="forbid"))
class Record:
    """What was seen of one Implementation in one Case.

    Attributes:
        case: what was asked.
        variant: which Implementation of the Case's Loss.
        status: ``passed`` the comparison with the oracle, was ``refused`` by it, or why there was
            none: the variant ``departs`` by its own word, is ``unsupported`` here, ``failed`` with
            an error, ``crashed`` the worker, ran out of memory or of time.
        environment: where and with what.
        reason: of any status but ``passed``, in a line.
        agreement: a quantity each.
        memory: bytes of a step.
        counters: what a step dispatches.
        forward: times of a forward with its graph.
        step: times of forward and backward, to every input and parameter.
        compilation: what compiling a ``+compile`` variant cost.
        warm_compilation: what it costs a process that finds the code on the disk.
        ceilings: what this machine can do at most, as measured in the same run.
        conformance: what the variant does with degenerate inputs, at a size of their own.
        made: when, ISO 8601 in UTC.
        origin: the file or module from outside that registered the variant; ``None`` for
            lossbench's own.
        schema: the version of this layout; ``bench.run.former`` has their history.

    Raises:
        ValueError: where it has times without having passed, has passed without agreement, or was
            made at no time.
    """

    case: Case
    variant: str
    status: Status
    environment: Environment
    made: str
    reason: str = ""
    agreement: tuple[Agreement, ...] = ()
    memory: Memory | None = None
    counters: Counters | None = None
    forward: Timing | None = None
    step: Timing | None = None
    compilation: Compilation | None = None
    warm_compilation: WarmCompilation | None = None
    ceilings: Ceilings | None = None
    conformance: tuple[Conformance, ...] = ()
    origin: Origin | None = None
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Hold to the rule that only what agrees is timed."""
        agreed = bool(self.agreement) and all(part.passed for part in self.agreement)
        if self.status == "passed" and not agreed:
            raise ValueError("a record that passed must hold an agreement within its budget")
        if self.status != "passed" and (self.forward or self.step):
            raise ValueError(f"a record that is {self.status} must hold no times")
        # Raises for what is no time.
        datetime.fromisoformat(self.made)

    @property
    def cell(self) -> tuple[Case, str]:
        """What it is a record of."""
        return self.case, self.variant

    @property
    def compiled(self) -> bool:
        """Whether torch.compile made its code."""
        return is_compiled(self.variant)

    @property
    def registered(self) -> bool:
        """Whether the registry still has its Loss and its variant."""
        return is_registered(self.case.loss, self.variant)

    def limit(self, phase: Phase) -> Limit | None:
        """Return the least time of its Case, or ``None`` where it is unknown.

        How many operations a Loss takes at the least is a fact of the catalogue, which may have
        lost it. The ceilings may be missing, as a whole or for the Case's dtype.
        """
        dtype = self.case.dtype
        if self.ceilings is None or not is_registered(self.case.loss):
            return None
        if dtype not in DTYPES or dtype not in self.ceilings.flops_per_second:
            return None
        return limit(self.case, phase, self.ceilings)

    @property
    def worst(self) -> Agreement | None:
        """The quantity that is nearest to its budget, or furthest beyond it."""
        return max(self.agreement, key=lambda part: part.budget_share, default=None)


class RecordLine(RootModel[Record]):
    """A Record as a line of JSON."""


def read_records(folder: Path) -> list[Record]:
    """Return the Records of a run's folder.

    A last line without an end, which a killed run leaves, was never recorded and is passed over.

    Raises:
        UsageError: where the file cannot be read, or another line is no Record of this schema.
    """
    return list(each_record(folder))


def each_record(folder: Path) -> Iterator[Record]:
    """Yield what ``read_records`` returns, one after the other.

    Raises:
        UsageError: likewise.
    """
    path = folder / RECORDS
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected the records of a run") from error
    with file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                yield _parse(f"{path}, line {number}", line)


def _parse(place: str, line: bytes) -> Record:
    try:
        record = RecordLine.model_validate_json(line).root
    except ValidationError as error:
        return _parse_former(place, line, error)
    return record if record.schema == SCHEMA else _parse_former(place, line)


def _parse_former(place: str, line: bytes, error: ValidationError | None = None) -> Record:
    """Return a Record of a former schema, or say in a line what cannot be read.

    Args:
        place: the file and the number of the line.
        line: the JSON of a Record.
        error: what the present schema finds wrong with it.
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
            f"{place}: damaged, expected a record as JSON; moved to another file, it leaves the "
            "other lines readable"
        )
    return document


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))


def _other_version(document: Mapping[str, Any]) -> str:
    """Return what reads a record that this version does not."""
    environment = document.get("environment")
    commit = environment.get("commit") if isinstance(environment, dict) else None
    return f"commit {commit} wrote it, and reads it" if commit else "no commit is named that does"


class RecordFile:
    """An open record file, to which whole lines are appended."""

    def __init__(self, folder: Path) -> None:
        """Open or make the file; cut off a half-written last line."""
        self.path = folder / RECORDS
        self._file = self.path.open("ab", buffering=0)
        text = self.path.read_bytes()
        self._file.truncate(text.rfind(b"\n") + 1)

    def append(self, record: Record) -> None:
        """Append a Record and wait until the disk has it.

        Raises:
            UsageError: where the disk takes no more; what was recorded before stays whole.
        """
        line = RecordLine(record).model_dump_json().encode() + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            # An unbuffered file may take a part of the line only.
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise UsageError(
                f"{self.path}: {error.strerror}; the records before this one are whole. "
                "Make room and resume"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def record_file(folder: Path) -> Iterator[RecordFile]:
    """Open a run's record file for this process alone.

    Raises:
        UsageError: where another process writes to it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"{folder}: another run writes there; choose another --out") from None
    file = RecordFile(folder)
    try:
        yield file
    finally:
        file.close()
        lock.release()
