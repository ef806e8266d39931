"""A contender that cheats when it is timed costs its own times, and the record says why."""

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.cli import main
from lossbench.bench.measure.judge import RefusedTimes
from lossbench.bench.run.plan import RunPlan, read_plan
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.session import Session
from tests.makers.outside import registry_kept, write_contender

CASE = Case("arcface", 16, 8, 5)
SIZE = ("--batch", "16", "--dim", "8", "--classes", "5", "--budget", "0.05", "--threads", "1")
SIZE += ("--processes", "1")
IDLE = """
import lossbench
from lossbench.bench.selftest.contender import around_reference
from lossbench.bench.selftest.timed_cheaters import idle, later

lossbench.register("arcface", "mine")(around_reference("arcface", later(idle)))
"""


@pytest.fixture
def records(tmp_path):
    file, out = write_contender(tmp_path, code=IDLE), str(tmp_path / "run")
    with registry_kept():
        asked = ("--loss", "arcface", "--variant", "mine", "--variant", "fused", *SIZE)
        assert main(["run", "--with", str(file), *asked, "--out", out]) == 0
        yield {record.variant: record for record in read_records(tmp_path / "run")}


def test_it_is_refused_with_its_agreement_and_the_others_are_timed(records):
    mine = records.pop("mine")
    assert mine.status == "refused"
    assert mine.reason.startswith("when timed: out.loss is off by ")
    assert "\n" not in mine.reason
    assert mine.agreement
    assert mine.step is mine.forward is None
    assert {record.status for record in records.values()} == {"passed"}
    assert all(record.validated and record.step for record in records.values())


def test_beside_a_refused_variant_the_others_are_timed_again_in_new_processes(monkeypatch):
    asked, ended = [], []

    def sample(_session, _case, variants):
        asked.append(variants)
        return {
            name: RefusedTimes("it works on") if name == "mine" else f"{name} {len(asked)}"
            for name in variants
        }

    monkeypatch.setattr(Session, "_sample", sample)
    monkeypatch.setattr(Session, "_end_workers", lambda _: ended.append(len(asked)))
    plan = RunPlan((), budget_seconds=1, timeout_seconds=1, threads=1, machine="here")
    session = Session(plan, None)
    times = session._time(CASE, ["mine", "fused"], baseline=True)
    assert asked == [("reference", "mine", "fused"), ("reference", "fused")]
    assert times == {"mine": RefusedTimes("it works on"), "fused": "fused 2"}
    assert ended == [1]
    assert session._time(CASE, ["mine"], baseline=False) == {"mine": RefusedTimes("it works on")}
    session._compiled.remove()


def test_a_run_can_leave_out_the_checks_of_inputs(tmp_path):
    asked = ("--loss", "center_mse", "--variant", "fused", *SIZE, "--no-validate")
    assert main(["run", *asked, "--out", str(tmp_path)]) == 0
    assert read_plan(tmp_path).validate is False
    assert not any(record.validated for record in read_records(tmp_path))
