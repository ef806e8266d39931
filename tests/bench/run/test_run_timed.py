"""A contender that cheats when it is timed costs its own times, and the record says why."""

import pytest

from lossbench.bench.cli import main
from lossbench.bench.run.plan import read_plan
from lossbench.bench.run.records import read_records
from tests.makers.outside import registry_kept, write_contender

SIZE = ("--batch", "16", "--dim", "8", "--classes", "5", "--budget", "0.05", "--threads", "1")
IDLE = """
import lossbench
from lossbench.bench.selftest.cheaters import cheater
from lossbench.bench.selftest.timed_cheaters import idle, later

lossbench.register("arcface", "mine")(cheater("arcface", later(idle)).builder)
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


def test_a_run_can_leave_out_the_checks_of_inputs(tmp_path):
    asked = ("--loss", "center_mse", "--variant", "fused", *SIZE, "--no-validate")
    assert main(["run", *asked, "--out", str(tmp_path)]) == 0
    assert read_plan(tmp_path).validate is False
    assert not any(record.validated for record in read_records(tmp_path))
