"""The worker's side of a sweep: measure one order after the other, as a run on one machine does."""

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing import current_process
from threading import Lock, Timer

import psutil
import torch

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.quotas import allowed_processors, read_quotas
from lossbench.bench.machine.scratch import sweep_scratch_folders
from lossbench.bench.run.plan import RunPlan, register_planned
from lossbench.bench.run.records import Record
from lossbench.bench.run.session import Session
from lossbench.bench.sweep.orders import OrderRefusal, SweepOrder, software_problem

IDLE_SECONDS = 60.0
"""Time without an order after which the processes that measure are ended."""

Tell = Callable[[str], None]


def serve(expected: Mapping[str, str], order: bytes, tell: Tell) -> bytes:
    """Return the pickled Records of an order, or a pickled OrderRefusal.

    Args:
        expected: software that this process must have, by name.
        order: pickled SweepOrder; other software might not be able to read it.
        tell: function that is told what begins.
    """
    try:
        problem = software_problem(expected)
        found = OrderRefusal(problem) if problem else _STATION.measure(pickle.loads(order), tell)
    except UsageError as error:
        found = OrderRefusal(str(error))
    return pickle.dumps(found)


class Station:
    """The Session of a worker, kept from one order to the next, since its start takes seconds."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._session: Session | None = None
        self._idle: Timer | None = None

    def measure(self, order: SweepOrder, tell: Tell) -> list[Record] | OrderRefusal:
        """Return the Records of an order; only one order is measured at a time.

        Raises:
            UsageError: if no process can measure here, or a contender from outside is missing.
        """
        if order.case.device == "cuda" and not torch.cuda.is_available():
            return OrderRefusal(f"no CUDA device: torch {torch.__version__} finds none there")
        with self._lock:
            self._keep()
            try:
                session = self._session_for(order.settings)
                session.watcher = _Telling(tell)
                variants = list(order.variants)
                return list(session.measure(order.case, variants, baseline=order.baseline))
            finally:
                self._close_later()

    def close(self) -> None:
        """End the processes that measure."""
        with self._lock:
            self._end()

    def _session_for(self, settings: RunPlan) -> Session:
        plan = replace(settings, threads=settings.threads or _own_threads(settings.affinity))
        if self._session is None or self._session.plan != plan:
            self._end()
            sweep_scratch_folders()
            register_planned(plan)
            # Python forbids the children of a daemon, which dask's workers are, to have children.
            current_process().daemon = False
            self._session = Session(plan, _Telling(lambda _task: None)).__enter__()
        return self._session

    def _end(self) -> None:
        session, self._session = self._session, None
        if session:
            session.__exit__()

    def _close_later(self) -> None:
        self._idle = Timer(IDLE_SECONDS, self.close)
        self._idle.daemon = True
        self._idle.start()

    def _keep(self) -> None:
        if self._idle:
            self._idle.cancel()


_STATION = Station()


class _Telling:
    """A watcher that tells what begins; the Records are sent when the Case is complete."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def working(self, _case: Case, task: str) -> None:
        self._tell(task)

    def recorded(self, _record: Record) -> None:
        """Do nothing."""


def _own_threads(affinity: tuple[int, ...]) -> int:
    """Return one thread per processor of the affinity, or per core within the quota.

    It is not torch's number in this process, which an engine may have set to 1.
    """
    if affinity:
        return len(affinity)
    allowed, quota = len(allowed_processors()), read_quotas().processors
    cores = min(psutil.cpu_count(logical=False) or allowed, allowed)
    return max(1, min(cores, int(quota))) if quota else cores


def remove_variables(variables: Mapping[str, object]) -> None:
    """Remove variables that an engine gave its workers, where they still have its values."""
    for name, value in variables.items():
        if os.environ.get(name) == str(value):
            del os.environ[name]
