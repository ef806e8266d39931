"""Hand the Cases of a run to the workers of a dask scheduler, one at a time to each."""

import pickle
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

from lossbench.bench.errors import UsageError
from lossbench.bench.machine.replies import describe
from lossbench.bench.run.records import Record
from lossbench.bench.sweep.orders import (
    Errand,
    OrderRefusal,
    SweepOrder,
    SweepWatcher,
    by_value,
    check_finished,
    current_software,
)
from lossbench.bench.sweep.station import remove_variables, serve

JOIN_SECONDS = 60.0
"""Time without any worker after which a sweep ends."""
REFUSED_SECONDS = 5.0
"""Time in which another worker may join where all were refused."""
ANSWER_SECONDS = 60.0
"""Time in which the answer of a worker that has finished must arrive."""
LOOK_SECONDS = 1.0


class DaskEngine:
    """The workers of a scheduler."""

    def __init__(
        self,
        client: Any,
        name: str,
        shares: Mapping[str, tuple[int, ...]] | None = None,
        *,
        join_seconds: float = JOIN_SECONDS,
    ) -> None:
        """Set the connection.

        Args:
            client: connection to the scheduler.
            name: name of the scheduler in messages.
            shares: processors of each worker by its name; by default all of its machine.
            join_seconds: time without any worker after which a sweep ends.
        """
        self.client = client
        self.name = name
        self.shares = shares or {}
        self.join_seconds = join_seconds

    def measured(
        self,
        orders: Sequence[SweepOrder],
        watcher: SweepWatcher,
        folder: Path,  # noqa: ARG002 - dask needs no files
    ) -> Iterator[list[Record]]:
        """Yield the Records of each order as soon as a worker has measured it.

        Raises:
            UsageError: if no worker can measure, or workers died of an order again and again.
        """
        yield from DaskSweep(self, orders, watcher).records()


class DaskSweep:
    """One pass over orders.

    dask carries the orders and knows which workers live. Which worker gets which order is decided
    here: dask would queue all of them at the present workers, whatever their version.
    """

    def __init__(
        self, engine: DaskEngine, orders: Sequence[SweepOrder], watcher: SweepWatcher
    ) -> None:
        self._engine, self._watcher = engine, watcher
        self._waiting = deque(map(Errand, orders))
        self._busy: dict[str, Errand] = {}
        self._refused: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._given_up: list[SweepOrder] = []
        self._software = current_software()
        self._topic = f"lossbench-{uuid.uuid4().hex}"
        self._events: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self._hopeful = time.monotonic()

    def records(self) -> Iterator[list[Record]]:
        """Yield the Records of each order."""
        client = self._engine.client
        client.subscribe_topic(self._topic, lambda event: self._events.put(tuple(event[1])))
        try:
            while self._waiting or self._busy:
                self._meet(self._workers())
                self._check_hope()
                self._wait()
                yield from self._finished()
        finally:
            client.unsubscribe_topic(self._topic)
        check_finished(self._given_up)

    def _workers(self) -> Mapping[str, Any]:
        """Return what the scheduler knows of each worker, by its address.

        Raises:
            UsageError: if the scheduler has gone.
        """
        client = self._engine.client
        while client.status in ("running", "connecting"):
            with suppress(OSError):
                # `client.scheduler_info` may give a newer answer, to a question without workers.
                found = client.sync(client.scheduler.identity, n_workers=-1)
                return cast(Mapping[str, Any], found["workers"])
            time.sleep(LOOK_SECONDS)
        raise UsageError(f"{self._engine.name} has gone; --resume goes on with the rest")

    def _meet(self, workers: Mapping[str, Any]) -> None:
        """Take back the orders of workers that have gone, and give one to each idle worker."""
        self._names |= {address: str(info["name"]) for address, info in workers.items()}
        self._refused = {a: reason for a, reason in self._refused.items() if a in workers}
        for address in self._busy.keys() - workers.keys():
            self._take_back(address, "has gone")
        for address, info in workers.items():
            idle = info["status"] == "running" and address not in self._busy
            if idle and address not in self._refused and self._waiting:
                self._hand_out(address, self._waiting.popleft())

    def _hand_out(self, address: str, errand: Errand) -> None:
        order, share = errand.order, self._engine.shares.get(self._names[address])
        if share:
            order = replace(order, settings=replace(order.settings, affinity=share))
        task = by_value(_serve_dask, self._topic, self._software, pickle.dumps(order))
        key = f"lossbench-{uuid.uuid4().hex}"
        errand.future = self._engine.client.submit(task, key=key, workers=[address], pure=False)
        errand.future.add_done_callback(lambda _future: self._events.put((address, "")))
        self._busy[address] = errand
        self._watcher.measuring(self._label(address), order.case, "starting")

    def _label(self, address: str) -> str:
        return f"worker {self._names[address]}"

    def _take_back(self, address: str, what: str, *, counted: bool = True) -> None:
        """Give the order of a worker to the next idle one, unless it has cost too many."""
        errand, label = self._busy.pop(address), self._label(address)
        errand.future.release()
        errand.failures += counted
        self._watcher.measuring(label, None)
        if errand.hopeless:
            self._given_up.append(errand.order)
        else:
            self._waiting.appendleft(errand)
        self._watcher.noted(f"{label} {what}: {errand.order} {errand.next_step}")

    def _check_hope(self) -> None:
        """End the sweep if no worker measures, and none has joined for a while.

        Raises:
            UsageError: if so; the message has the reason of each refused worker.
        """
        if self._busy or not self._waiting:
            self._hopeful = time.monotonic()
        patience = self._engine.join_seconds
        if self._refused:
            patience = min(REFUSED_SECONDS, patience)
        if time.monotonic() - self._hopeful >= patience:
            why = self._reasons() or f"none has joined within {patience:.0f} s"
            raise UsageError(f"no worker of {self._engine.name} can measure: {why}")

    def _reasons(self) -> str:
        """Return why workers were refused, each reason once."""
        refused: dict[str, list[str]] = {}
        for address, reason in self._refused.items():
            refused.setdefault(reason, []).append(self._label(address))
        return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in refused.items())

    def _wait(self) -> None:
        """Wait a moment for a worker to tell or to finish, and show what the workers have told."""
        with suppress(Empty):
            address, task = self._events.get(timeout=LOOK_SECONDS)
            if task and address in self._busy:
                case = self._busy[address].order.case
                self._watcher.measuring(self._label(address), case, task)

    def _finished(self) -> Iterator[list[Record]]:
        """Yield the Records of the workers that have finished."""
        for address in [a for a, errand in self._busy.items() if errand.future.done()]:
            found = self._answer(address)
            if found is not None:
                del self._busy[address]
                self._watcher.measuring(self._label(address), None)
                yield found

    def _answer(self, address: str) -> list[Record] | None:
        """Return the Records that a worker has sent, or see to its order if there are none."""
        from distributed import CancelledError

        try:
            answer = self._busy[address].future.result(timeout=ANSWER_SECONDS)
            found: list[Record] | OrderRefusal = pickle.loads(answer)
        except TimeoutError:
            # The worker has gone with its answer, as the scheduler will say.
            pass
        except CancelledError:
            # The scheduler was out of reach, and has forgotten what it was asked.
            self._take_back(address, "was out of reach", counted=False)
        except (ImportError, AttributeError) as error:
            self._refuse(address, f"no lossbench of this version: {describe(error)}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs the worker its order
            self._take_back(address, f"failed ({describe(error)})")
        else:
            if not isinstance(found, OrderRefusal):
                return found
            self._refuse(address, found.reason)
        return None

    def _refuse(self, address: str, reason: str) -> None:
        self._refused[address] = reason
        self._take_back(address, f"is refused ({reason})", counted=False)


def _serve_dask(topic: str, software: Mapping[str, str], order: bytes) -> bytes:
    """Answer an order in a task of dask, and log what begins as events of a topic."""
    import dask
    from distributed import get_worker

    worker = get_worker()
    if worker.nanny:
        # They would slow the measured code down, and hide what the user has set.
        for given in ("pre-spawn-environ", "environ"):
            remove_variables(dask.config.get(f"distributed.nanny.{given}", {}))
    return serve(software, order, lambda task: worker.log_event(topic, [worker.address, task]))
