"""A sweep on SLURM, by submitit's local executor, and what it asks of SLURM."""

import pickle

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.run.plan import start_run
from lossbench.bench.run.reading import read_records
from lossbench.bench.sweep import on_slurm
from lossbench.bench.sweep.engines import sweep
from lossbench.bench.sweep.on_slurm import SlurmEngine
from lossbench.bench.sweep.orders import OrderRefusal, SweepOrder
from tests.makers.records import record
from tests.makers.sweeps import CASES, Seen, sweep_plan

submitit = pytest.importorskip("submitit", reason="submitit is not installed")
ORDERS = [SweepOrder(sweep_plan(()), case, ("vectorized",), True) for case in CASES[:3]]
SBATCH = """#!/bin/sh
cp "$1" {folder}/script
echo "sbatch: error: invalid partition specified" >&2
exit 1
"""


class Job:
    """A job that ends at once, in the way that its number says."""

    number = 0

    def __init__(self, answer):
        Job.number += 1
        self.job_id, self.answer, self.state = Job.number, answer, "RUNNING"

    def done(self):
        return True

    def result(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return pickle.dumps(self.answer)


@pytest.fixture
def answers(monkeypatch):
    """Give a list of answers of the first jobs; each job after them measures."""
    given = []

    def submit(_engine, errands, _folder):
        return {
            Job(given.pop(0) if given else [record(case=errand.order.case)]): errand
            for errand in errands
        }

    monkeypatch.setattr(SlurmEngine, "_submit", submit)
    monkeypatch.setattr(on_slurm, "LOOK_SECONDS", 0)
    return given


def swept(seen, folder):
    found = SlurmEngine("local").measured(ORDERS, seen, folder)
    return sorted(str(each.case) for (each,) in found)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (submitit.core.utils.UncompletedJobError("it was killed"), "it was killed"),
        (OrderRefusal("another version of the code"), "is refused (another version of the code)"),
    ],
)
def test_the_order_of_a_job_without_records_goes_to_another(answers, tmp_path, answer, words):
    answers.append(answer)
    seen = Seen()
    assert swept(seen, tmp_path) == sorted(str(order.case) for order in ORDERS)
    (note,) = seen.notes
    assert words in note
    assert note.endswith(f": {ORDERS[0]} goes to another")


def test_an_order_of_which_three_jobs_die_is_given_up(answers, tmp_path):
    answers += [RuntimeError("dead")] * 9
    seen = Seen()
    with pytest.raises(UsageError, match=r"3 workers died or failed with each of: .* --resume"):
        swept(seen, tmp_path)
    assert sum(note.endswith("is given up") for note in seen.notes) == len(ORDERS)


def test_a_job_has_a_node_for_itself_and_a_refusal_is_told(tmp_path, monkeypatch):
    for name, text in (("sbatch", SBATCH.format(folder=tmp_path)), ("srun", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UsageError, match=r"SLURM takes no job: .*sbatch"):
        list(SlurmEngine().measured(ORDERS, Seen(), tmp_path))
    script = (tmp_path / "script").read_text()
    assert "#SBATCH --exclusive" in script
    assert "#SBATCH --array=0-2%" in script
    assert "--cpu-bind=none" in script
    assert "gpus" not in script
    # 10 min to start, 5 by the time limits of checking and 2 + 1 s of sampling.
    assert "#SBATCH --time=15" in script


def test_a_case_on_a_gpu_asks_for_one():
    order = SweepOrder(sweep_plan(()), Case("center", 8, 4, 3, device="cuda"), ("fused",), True)
    assert on_slurm._parameters([order])["gpus_per_node"] == 1


@pytest.mark.slow
def test_a_job_measures_as_a_run_does(tmp_path):
    plan, seen = sweep_plan(CASES[:1]), Seen()
    start_run(tmp_path, plan)
    sweep(tmp_path, plan, SlurmEngine("local"), seen)
    records = read_records(tmp_path)
    assert [each.cell for each in records] == seen.cells == plan.cells
    assert all(each.status == "passed" for each in records)
    assert "checking reference" in next((tmp_path / "slurm").glob("*_log.out")).read_text()
