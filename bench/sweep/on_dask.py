"""Reach a dask scheduler, or start one on this machine."""

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lossbench.bench.errors import UsageError
from lossbench.bench.machine.quotas import allowed_processors
from lossbench.bench.printable import printable
from lossbench.bench.sweep.dask_sweep import DaskEngine
from lossbench.bench.sweep.orders import missing_extra

CONNECT_SECONDS = 10.0
"""Time in which a scheduler must answer."""


@contextmanager
def dask_engine(address: str) -> Iterator[DaskEngine]:
    """Connect to a scheduler.

    Raises:
        UsageError: if there is none at the address, or dask.distributed is not installed.
    """
    place = address if "://" in address else f"tcp://{address}"
    with _quiet(), _connected(place) as client:
        yield DaskEngine(client, f"the dask scheduler at {place}")


@contextmanager
def local_engine(workers: int, affinity: tuple[int, ...] = ()) -> Iterator[DaskEngine]:
    """Start a scheduler and workers on this machine, which share its processors.

    Args:
        workers: number of workers.
        affinity: processors to share; empty for all that this process may use.

    Raises:
        UsageError: if dask.distributed is not installed.
    """
    distributed = _imported()
    shares = shares_of(affinity or allowed_processors(), workers)
    with _quiet():
        with _uninterrupted():
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="localhost:0",
                # dask's limit is for its own data; what measures has a limit of lossbench.
                memory_limit=0,
                silence_logs=logging.CRITICAL,
            )
        with cluster, _connected(cluster.scheduler_address) as client:
            yield DaskEngine(client, "the scheduler on this machine", shares)


def shares_of(processors: Sequence[int], workers: int) -> dict[str, tuple[int, ...]]:
    """Return the processors of each worker, by its name; workers beyond the processors share one.

    Args:
        processors: numbers of the processors to share.
        workers: number of workers; dask names them by numbers from 0.
    """
    each = len(processors) // workers
    starts = [worker * each if each else worker % len(processors) for worker in range(workers)]
    return {str(n): tuple(processors[at : at + max(each, 1)]) for n, at in enumerate(starts)}


def _imported() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise missing_extra("dask.distributed", error) from error
    return distributed


@contextmanager
def _connected(place: str) -> Iterator[Any]:
    try:
        client = _imported().Client(place, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no dask scheduler answers at {printable(place)} within {CONNECT_SECONDS:.0f} s: "
            f"{printable(str(error))}; `dask scheduler` starts one and prints its address"
        ) from None
    with client:
        yield client


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: the command itself ends them.

    They inherit that the signal is ignored, and would print a traceback otherwise.
    """
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence dask's log of workers that come and go: the sweep tells it in a line."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado.application")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
