"""The matrix of what every implementation does in every situation, as a file keeps it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from lossbench.bench.machine.environment import Environment
from lossbench.bench.paths import SHIPPED_RESULTS
from lossbench.bench.stamped import KEPT, load_report
from lossbench.bench.training_loop.asking import LoopWorkers
from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
from lossbench.bench.training_loop.situation import LoopFinding
from lossbench.bench.training_loop.trainee import trainees_of

TRAINING_FILE = "training.json"


@dataclass(frozen=True, config=KEPT)
class TrainingRow:
    """The results of one implementation in every situation.

    Attributes:
        loss: the Loss's name.
        label: the variant, with the arguments that differ from the defaults.
        variant: the variant.
        foreign: whether a third party computes it.
        findings: the results, one per situation.
    """

    loss: str
    label: str
    variant: str
    foreign: bool
    findings: tuple[LoopFinding, ...]

    @property
    def reasons(self) -> Iterator[LoopFinding]:
        """The findings that have a reason: limits, and what is worse."""
        return (finding for finding in self.findings if finding.reason)


@dataclass(frozen=True, config=KEPT)
class TrainingMatrix:
    """The rows of some losses, and where they were found.

    Attributes:
        environment: the machine and software.
        made: the time, ISO 8601 in UTC.
        rows: a row an implementation and arguments.
        schema: version of the layout. 1: the first.
    """

    environment: Environment
    made: str
    rows: tuple[TrainingRow, ...]
    schema: int = 1

    def to_json(self) -> str:
        """Return the matrix as JSON."""
        return TypeAdapter(TrainingMatrix).dump_json(self, indent=1).decode() + "\n"

    @property
    def losses(self) -> list[str]:
        """The names of its losses, in order."""
        return list(dict.fromkeys(row.loss for row in self.rows))

    def rows_of(self, loss: str) -> list[TrainingRow]:
        """Return the rows of a Loss."""
        return [row for row in self.rows if row.loss == loss]

    def counts(self, *, foreign: bool) -> Counter[str]:
        """Return how often each fitness is found, of third parties or of all others."""
        rows = (row for row in self.rows if row.foreign == foreign)
        return Counter(finding.fitness for row in rows for finding in row.findings)


def measure_rows(
    workers: LoopWorkers, loss: str, *, compiled: bool = False
) -> Iterator[TrainingRow]:
    """Yield the row of every implementation of a Loss that runs here.

    Args:
        workers: the processes that try them.
        loss: the Loss's name.
        compiled: whether to try ``+compile`` variants too.
    """
    for kind in (False, True) if compiled else (False,):
        for trainee in trainees_of(loss, compiled=kind):
            findings = tuple(workers.ask(trainee, each) for each in LOOP_SITUATIONS.values())
            yield TrainingRow(loss, trainee.label, trainee.variant, trainee.foreign, findings)


def load_matrix(path: Path) -> TrainingMatrix:
    """Return the matrix that a file keeps.

    Raises:
        UsageError: where the file cannot be read, or holds something else.
    """
    return load_report(path, TrainingMatrix, "a training matrix")


@cache
def shipped_matrices() -> Mapping[str, TrainingMatrix]:
    """Return the matrices that come with lossbench, by the name of their machine."""
    files = sorted(SHIPPED_RESULTS.glob(f"*/{TRAINING_FILE}"))
    return {file.parent.name: load_matrix(file) for file in files}
