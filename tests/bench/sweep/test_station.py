"""A worker of a sweep: what it refuses, and the session that it keeps from order to order."""

import os
import pickle
import sys

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.quotas import Quotas
from lossbench.bench.sweep import orders, station
from lossbench.bench.sweep.orders import OrderRefusal, SweepOrder, by_value, current_software
from lossbench.bench.sweep.station import Station, remove_variables, serve
from tests.makers.records import record
from tests.makers.sweeps import CASES, sweep_plan

ORDER = SweepOrder(sweep_plan(()), CASES[0], ("reference", "vectorized"), False)


class Measuring:
    """A session that gives a Record without measuring."""

    def __init__(self, plan, watcher):
        self.plan, self.watcher, self.open = plan, watcher, True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open = False

    def measure(self, case, variants, *, baseline):
        assert self.open
        assert not baseline
        for variant in variants:
            self.watcher.working(case, f"checking {variant}")
            yield record(case=case, variant=variant)


@pytest.fixture
def sessions(monkeypatch):
    """Give the sessions that stations begin, which measure nothing."""
    made = []

    def begin(plan, watcher):
        made.append(Measuring(plan, watcher))
        return made[-1]

    monkeypatch.setattr(station, "Session", begin)
    monkeypatch.setattr(station, "sweep_scratch_folders", lambda: None)
    return made


def test_other_software_is_refused_before_the_order_is_read():
    expected = {**current_software(), "torch": "1.0", "numpy": ""}
    found = pickle.loads(serve(expected, b"of a newer version", print))
    assert found.reason.startswith("another version of the code or its packages: torch 2.")
    assert "expected 1.0; numpy " in found.reason
    assert found.reason.endswith(", expected none")


def test_sources_that_changed_after_they_were_imported_are_another_version(monkeypatch):
    expected = current_software()
    monkeypatch.setattr(orders, "digest_sources", lambda: "changed")
    reason = orders.software_problem(expected)
    assert f"sources {expected['sources']} in memory and changed on the disk" in reason


def test_the_session_is_kept_for_orders_of_one_run(sessions):
    worker, told = Station(), []
    for case in CASES[:2]:
        order = SweepOrder(ORDER.settings, case, ORDER.variants, False)
        found = worker.measure(order, told.append)
        assert [each.cell for each in found] == [(case, name) for name in order.variants]
    assert told == ["checking reference", "checking vectorized"] * 2
    assert len(sessions) == 1
    worker.measure(SweepOrder(sweep_plan((), threads=2), CASES[0], ("fused",), False), print)
    assert [session.open for session in sessions] == [False, True]
    worker.close()


def test_an_idle_worker_ends_its_processes(sessions, monkeypatch):
    monkeypatch.setattr(station, "IDLE_SECONDS", 0.01)
    worker = Station()
    worker.measure(ORDER, print)
    worker._idle.join(10)
    assert [session.open for session in sessions] == [False]


def test_a_worker_without_a_gpu_refuses_its_cases(sessions, monkeypatch):
    monkeypatch.setattr(station.torch.cuda, "is_available", lambda: False)
    order = SweepOrder(ORDER.settings, Case("center", 8, 4, 3, device="cuda"), ("fused",), False)
    assert Station().measure(order, print).reason.startswith("no CUDA device: torch 2.")
    assert sessions == []


def test_a_worker_on_which_nothing_can_start_refuses(monkeypatch):
    def fail(*_):
        raise UsageError("no worker can measure here: out of memory")

    monkeypatch.setattr(station, "Session", fail)
    found = pickle.loads(serve(current_software(), pickle.dumps(ORDER), print))
    assert found == OrderRefusal("no worker can measure here: out of memory")


@pytest.mark.parametrize(
    ("affinity", "quota", "threads"), [((3, 5), 0, 2), ((), 0, 4), ((), 2.5, 2), ((), 0.5, 1)]
)
def test_a_worker_has_a_thread_for_each_core_that_it_may_use(monkeypatch, affinity, quota, threads):
    monkeypatch.setattr(station, "allowed_processors", lambda: (0, 1, 2, 3))
    monkeypatch.setattr(station, "read_quotas", lambda: Quotas(processors=quota))
    monkeypatch.setattr(station.psutil, "cpu_count", lambda logical: 16)  # noqa: ARG005
    assert station._own_threads(affinity) == threads


def test_variables_of_the_engine_are_removed_and_those_of_the_user_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    remove_variables({"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "NOT_SET": 1})
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["MKL_NUM_THREADS"] == "7"


def test_a_task_is_read_without_lossbench(monkeypatch):
    pickled = pytest.importorskip("cloudpickle").dumps(by_value(bytes, b"1"))
    for name in [name for name in sys.modules if name.startswith("lossbench")]:
        # An import of it would raise, as in a scheduler that has none.
        monkeypatch.setitem(sys.modules, name, None)
    assert pickle.loads(pickled)() == b"1"
