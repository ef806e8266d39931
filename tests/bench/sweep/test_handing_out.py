"""Which worker gets which order, what becomes of it, and when a sweep ends: without processes."""

import pickle

import pytest

from lossbench.bench.errors import UsageError
from lossbench.bench.sweep import dask_sweep
from lossbench.bench.sweep.dask_sweep import DaskEngine
from lossbench.bench.sweep.orders import OrderRefusal, SweepOrder
from tests.makers.records import record
from tests.makers.sweeps import CASES, Seen, sweep_plan

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
ORDERS = [SweepOrder(sweep_plan(()), case, ("vectorized",), True) for case in CASES]


class Task:
    """A future of dask that is done at once, or never if it has no answer."""

    def __init__(self, answer):
        self.answer = answer

    def done(self):
        return self.answer is not None

    def result(self, timeout):
        assert timeout
        if isinstance(self.answer, Exception):
            raise self.answer
        return pickle.dumps(self.answer)

    def add_done_callback(self, call):
        if self.done():
            call(self)

    def release(self):
        pass


class Scheduler:
    """A client of dask; each worker is a function that answers an order or ends the worker."""

    def __init__(self, **workers):
        self.workers, self.status, self.handed = workers, "running", []
        self.scheduler = self

    def identity(self, *, n_workers):
        assert n_workers == -1
        known = {"status": "running"}
        return {"workers": {name: {"name": name, **known} for name in self.workers}}

    def sync(self, call, **arguments):
        return call(**arguments)

    def submit(self, order, *, key, workers, pure):
        assert key
        assert not pure
        (name,) = workers
        self.handed.append((name, order))
        return Task(self.workers[name](order))

    def subscribe_topic(self, *_):
        pass

    def unsubscribe_topic(self, *_):
        pass

    def kill(self, name):
        """Return a worker that dies of its order."""
        return lambda _order: self.workers.pop(name) and None


def measure(order):
    return [record(case=order.case)]


@pytest.fixture(autouse=True)
def _orders_as_they_are(monkeypatch):
    monkeypatch.setattr(dask_sweep, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(dask_sweep, "current_software", dict)
    monkeypatch.setattr(dask_sweep, "by_value", lambda *arguments: pickle.loads(arguments[-1]))


def swept(scheduler, seen=None, orders=ORDERS, shares=None):
    engine = DaskEngine(scheduler, "the scheduler", shares, join_seconds=0.05)
    return [found.case for (found,) in engine.measured(orders, seen or Seen(), None)]


def test_every_worker_has_one_order_at_a_time():
    scheduler = Scheduler(a=measure, b=measure)
    assert swept(scheduler) == list(CASES)
    assert [name for name, _ in scheduler.handed] == ["a", "b"] * (len(CASES) // 2)


def test_the_order_of_a_dead_worker_goes_to_another():
    scheduler, seen = Scheduler(a=measure), Seen()
    scheduler.workers["b"] = scheduler.kill("b")
    assert sorted(map(str, swept(scheduler, seen))) == sorted(map(str, CASES))
    assert seen.notes == [f"worker b has gone: {ORDERS[1]} goes to another"]


def test_a_worker_that_joins_late_gets_orders():
    scheduler = Scheduler()

    def first(order):
        scheduler.workers["late"] = measure
        return measure(order)

    scheduler.workers["a"] = first
    assert len(swept(scheduler)) == len(CASES)
    assert "late" in [name for name, _ in scheduler.handed]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (OrderRefusal("another version of the code"), "another version of the code"),
        (ModuleNotFoundError("No module named 'lossbench'"), "No module named 'lossbench'"),
        (AttributeError("no attribute 'serve'"), "no lossbench of this version"),
    ],
)
def test_a_worker_that_cannot_measure_gets_no_other_order(answer, reason):
    scheduler, seen = Scheduler(a=lambda _: answer, b=measure), Seen()
    assert len(swept(scheduler, seen)) == len(CASES)
    assert [name for name, _ in scheduler.handed].count("a") == 1
    (note,) = seen.notes
    assert note.startswith("worker a is refused (")
    assert reason in note


def test_where_every_worker_is_refused_each_reason_is_told_once():
    scheduler = Scheduler(a=lambda _: OrderRefusal("old"), b=lambda _: OrderRefusal("old"))
    with pytest.raises(UsageError, match=r"^no worker of .* can measure: worker a, worker b: old$"):
        swept(scheduler)


def test_a_scheduler_without_workers_ends_the_sweep():
    with pytest.raises(UsageError, match="can measure: none has joined within 0 s"):
        swept(Scheduler())


def test_an_order_that_fails_everywhere_is_given_up_and_told():
    def fail_first(order):
        return ZeroDivisionError("one / zero") if order == ORDERS[0] else measure(order)

    scheduler, seen = Scheduler(a=fail_first), Seen()
    with pytest.raises(UsageError, match=f"3 workers died or failed with each of: {ORDERS[0]}; "):
        swept(scheduler, seen)
    assert {order for _, order in scheduler.handed} == set(ORDERS)
    assert [name for name, order in scheduler.handed if order == ORDERS[0]] == ["a"] * 3
    assert "failed (ZeroDivisionError: one / zero)" in seen.notes[0]
    assert seen.notes[-1].endswith("is given up")


def test_what_the_scheduler_has_forgotten_is_asked_again():
    answers = [distributed.CancelledError("forgotten")]

    def forget_once(order):
        return answers.pop() if answers else measure(order)

    assert len(swept(Scheduler(a=forget_once))) == len(CASES)


def test_a_scheduler_that_goes_ends_the_sweep_in_a_line():
    scheduler = Scheduler()

    def end(order):
        scheduler.status = "closed"
        return measure(order)

    scheduler.workers["a"] = end
    with pytest.raises(UsageError, match="the scheduler has gone; --resume goes on"):
        swept(scheduler)


def test_workers_on_this_machine_have_processors_of_their_own():
    scheduler = Scheduler(a=measure, b=measure)
    swept(scheduler, shares={"a": (0, 1), "b": (2, 3)})
    given = {name: order.settings.affinity for name, order in scheduler.handed}
    assert given == {"a": (0, 1), "b": (2, 3)}
