"""The self-test passes if the harness keeps its promises, and fails if it breaks one."""

import os
from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter

from lossbench.bench import selftest
from lossbench.bench.format import plain_text
from lossbench.bench.selftest import SelfTestPlan, run_selftest, trials
from lossbench.bench.selftest.buffers import Count, measure_counts
from lossbench.bench.selftest.coverage import Coverage
from lossbench.bench.selftest.gates import asv_worsened, hold_gates
from lossbench.bench.selftest.mixed import Bystander
from lossbench.bench.selftest.planted import measure_pair, slowed
from lossbench.bench.selftest.report import SelfTestReport
from lossbench.bench.selftest.tables import report_table
from lossbench.bench.selftest.trials import cases
from lossbench.bench.timing.sampling import Sampling
from tests.makers.comparisons import timing
from tests.makers.selftests import CASE, bystanders, report, tried


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Two threads on two busy cores wait for each other, and ratios of small steps become noisy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, True),
        ({"reason": "it hangs"}, False),
        ({"found": "failed"}, False),
        ({"found": "no record", "reason": ""}, False),
        ({"found": "passed", "expected": "passed", "reason": "", "pattern": ""}, True),
        (
            {"found": "passed", "expected": "passed", "reason": "", "pattern": "", "speedup": 1.4},
            False,
        ),
    ],
)
def test_only_the_expected_status_reason_and_time_are_right(changes, right):
    assert tried(**changes).right is right


def test_every_planted_buffer_is_counted_to_the_byte():
    counts = measure_counts("cpu")
    assert len(counts) >= 20
    assert [c for c in counts if not c.right] == []
    assert not Count("one byte off", 1000, 1001).right


def test_a_planted_copy_is_slower():
    found = measure_pair(CASE, 3.0, Sampling(1.0, half_width=0.1))
    assert found.speedup.median < 0.6
    assert found.verdict not in ("faster", "same")


def test_a_slowed_call_spins_for_its_share_of_the_call(monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("time.thread_time", lambda: next(ticks))
    # The call reads the clock 8 times: it takes from 0 to 9, then spins for half of that.
    assert slowed(lambda: [next(ticks) for _ in range(8)] and "result", 0.5, "cpu")() == "result"
    assert next(ticks) == 15


def test_kept_promises_exit_with_0():
    held = report(false_alarms=3, missed=3, loaded_alarms=3, loaded_missed=3)
    assert {check.outcome for check in held.checks} == {"holds"}
    assert held.exit_code == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"false_alarms": 4},
        {"loaded_alarms": 4},
        {"missed": 4},
        {"loaded_missed": 4},
        {"seconds": 10.5},
        {"contenders": (tried("passed", ""),)},
        {"contenders": ()},
        {"bystanders": (*bystanders(), Bystander("arcface", "fused", "other figures of memory"))},
        {"bystanders": bystanders(apart=2)},
        {"counts": (Count("1 B held", 1, 2),)},
        {"coverage": (Coverage("normal", 20, 1, 92, 100, 0.01, promised=True),)},
    ],
)
def test_a_broken_promise_exits_with_1(broken):
    broken = report(**broken)
    assert [check.outcome for check in broken.checks].count("fails") == 1
    assert broken.exit_code == 1


def test_too_few_trials_do_not_decide():
    few = report(trials=59, false_alarms=30)
    assert [check.outcome for check in few.checks[:3]] == ["too few trials to judge"] * 3
    assert few.exit_code == 0
    assert report(trials=20, loaded_missed=2).exit_code == 1
    assert report(trials=19, loaded_missed=2).exit_code == 0


def test_the_report_renders_and_is_read_back():
    made = report(false_alarms=3)
    text = plain_text(report_table(made))
    assert "3/60 5% [1, 14]" in text
    assert "asv continuous -f 1.1" in text
    assert "95.0%" in text
    assert "needs CUDA" in text
    assert TypeAdapter(SelfTestReport).validate_json(made.to_json()) == made


@pytest.mark.parametrize(("seconds", "worse"), [(1.0, False), (1.05, False), (1.3, True)])
def test_asv_itself_makes_its_decision(seconds, worse):
    statistics = pytest.importorskip("asv_runner.statistics")
    before, after = (
        statistics.compute_stats([factor * (1 + i / 1000) for i in range(10)], 1)
        for factor in (1.0, seconds)
    )
    assert asv_worsened(before, after, 1.1) is worse
    assert asv_worsened(after, before, 1.1) is False


@pytest.mark.slow
def test_the_gates_run_as_their_users_run_them():
    pytest.importorskip("asv_runner")
    alarms = list(hold_gates(cases("cpu")[0], 2.0, threads=1))
    assert len({alarm.gate for alarm in alarms}) == 4
    assert {alarm.raised for alarm in alarms if alarm.effect} == {True}


class Scripted:
    """Returns timings with the planted effect, and records its calls."""

    def __init__(self):
        self.asked = []

    def __call__(self, case, effect, _sampling, seed):
        self.asked.append((case, effect, seed))
        return timing(1 + effect), 2.5


@pytest.fixture
def nothing_started(monkeypatch):
    monkeypatch.setattr(selftest, "fresh_worker", Nothing)
    monkeypatch.setattr(selftest, "burnt_core", Nothing)
    monkeypatch.setattr(selftest, "measure_coverage", tuple)
    monkeypatch.setattr(selftest, "measure_contenders", _told)


class Nothing:
    """Replaces the worker by one that finds nothing, and the load by none."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def ask(self, *_):
        return ()


def _told(_plan, tell):
    """Find nothing in two runs."""
    tell("with")
    tell("without")
    return (), ()


PLAN = SelfTestPlan(60, gate_pairs=0, budget_seconds=2.0, threads=1, device="cpu", machine="here")


def test_under_load_torch_leaves_the_busy_core_alone():
    plan = replace(PLAN, threads=4)
    assert [plan.threads_beside(loaded=loaded) for loaded in (False, True)] == [4, 3]
    assert PLAN.threads_beside(loaded=True) == 1


@pytest.mark.slow
def test_processes_are_replaced_after_some_trials(monkeypatch):
    monkeypatch.setattr(trials, "TRIALS_PER_PROCESS", 2)
    measure, numbers = trials.SamplingProcesses(threads=1, processes=2), []
    for turn in range(3):
        timing, seconds = measure(CASE, 0.0, Sampling(0.05), turn)
        assert len(timing.processes) == 2
        assert seconds < 20
        numbers.append([worker.ask(60, os.getpid) for worker in measure._workers])
    measure.close()
    assert numbers[0] == numbers[1]
    assert not set(numbers[1]) & set(numbers[2])
    assert measure._workers == []


@pytest.mark.usefixtures("nothing_started")
def test_trials_rotate_over_the_cases_and_how_they_are_measured_can_be_swapped():
    measure, told = Scripted(), []
    made = run_selftest(PLAN, told.append, measure)
    assert [check.outcome for check in made.checks[:3]] == ["holds"] * 3
    assert len(told) == PLAN.parts
    same = [case for case, effect, _ in measure.asked if effect == 0]
    assert len(same) == 120
    assert {same.count(case) for case in cases("cpu")} == {12}
    assert len(made.select(0, loaded=True)) == 60
