"""What a sweep sends to a worker and gets back, and the software that both must have."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.sources import digest_sources
from lossbench.bench.run.mixture import software_of
from lossbench.bench.run.plan import RunPlan
from lossbench.bench.run.records import Record
from lossbench.bench.run.session import RunWatcher

ATTEMPTS = 3
"""Number of workers that one order may cost before it is given up."""


@dataclass(frozen=True)
class SweepOrder:
    """A Case to measure on one worker.

    The worker measures the reference beside the variants, so a ratio is never made of two machines.

    Attributes:
        settings: the plan of the run, without its tasks.
        case: the Case to measure in.
        variants: the names of the variants that have no Record yet.
        baseline: whether the reference can be timed, although it is not among the variants.
    """

    settings: RunPlan
    case: Case
    variants: tuple[str, ...]
    baseline: bool

    def __str__(self) -> str:
        """Return the Loss and the Case."""
        return f"{self.case.loss} {self.case}"


@dataclass(frozen=True)
class OrderRefusal:
    """The answer of a worker that cannot measure.

    Attributes:
        reason: cause in one line.
    """

    reason: str


class SweepWatcher(RunWatcher, Protocol):
    """Receives the progress of a run on several workers."""

    def measuring(self, worker: str, case: Case | None, task: str = "") -> None:
        """Show what a worker does, ``worker 3`` or ``job 42_0``; without a Case it is idle."""

    def noted(self, line: str) -> None:
        """Show what has happened to a worker."""


class SweepEngine(Protocol):
    """Workers on one machine or several."""

    def measured(
        self, orders: Sequence[SweepOrder], watcher: SweepWatcher, folder: Path
    ) -> Iterator[list[Record]]:
        """Yield the Records of each order as soon as a worker has measured it.

        Args:
            orders: orders to hand out.
            watcher: receiver of the progress.
            folder: folder of the run, for files of the engine.

        Raises:
            UsageError: if no worker can measure, or workers died of an order again and again.
        """


def current_software() -> dict[str, str]:
    """Return what must be the same on all workers of a sweep, by name.

    The sources may change while a process runs. It keeps what it has imported, but the processes
    that it starts import the new code: the hash of such sources is two hashes.
    """
    loaded, found = _loaded_sources(), digest_sources()
    sources = found if loaded == found else f"{loaded} in memory and {found} on the disk"
    return {"sources": sources, **software_of(current_environment())}


@cache
def _loaded_sources() -> str:
    """Return the hash of the sources when this process first asked, soon after its imports."""
    return digest_sources()


def software_problem(expected: Mapping[str, str]) -> str:
    """Return how the software of this process differs from the expected; empty if it does not."""
    found = current_software()
    differing = [
        f"{name} {found.get(name) or 'none'}, expected {expected.get(name) or 'none'}"
        for name in dict.fromkeys((*expected, *found))
        if found.get(name) != expected.get(name)
    ]
    return f"another version of the code or its packages: {'; '.join(differing)}" * bool(differing)


@dataclass
class Errand:
    """An order on its way to a worker.

    Attributes:
        order: order to measure.
        failures: number of workers that died or failed with it.
        future: engine's handle of the task.
    """

    order: SweepOrder
    failures: int = 0
    future: Any = None

    @property
    def hopeless(self) -> bool:
        """Whether it has cost so many workers that no other should get it."""
        return self.failures >= ATTEMPTS

    @property
    def next_step(self) -> str:
        """What becomes of it after a failure, in words."""
        return "is given up" if self.hopeless else "goes to another"


def check_finished(given_up: Sequence[SweepOrder]) -> None:
    """Refuse to call a sweep complete that has given up orders.

    Raises:
        UsageError: if there are any; the message names them.
    """
    if given_up:
        raise UsageError(
            f"{ATTEMPTS} workers died or failed with each of: {'; '.join(map(str, given_up))}; all "
            "other records are complete, and --resume tries again"
        )


def missing_extra(package: str, error: ImportError) -> UsageError:
    """Return the error of a missing package of the extra ``cluster``."""
    return UsageError(f"--on needs {package} ({error}); pip install 'lossbench[cluster]'")


def by_value(function: Callable[..., bytes], *arguments: object) -> Callable[[], bytes]:
    """Return a call of a function that is sent by its value, not by the name of its module.

    dask's scheduler unpickles each task: it needs no lossbench for this one. A worker without
    lossbench, or with another, fails in the call and not before, so the sweep sees the reason.
    """
    pickled = pickle.dumps((function, arguments))

    def call() -> bytes:
        import pickle

        function, arguments = pickle.loads(pickled)
        answer: bytes = function(*arguments)
        return answer

    return call
