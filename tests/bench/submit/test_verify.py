"""Records that contradict each other are refused; a few cells are measured again and compared."""

import json
from dataclasses import replace

import pytest

from lossbench.bench.cli import main, verify
from lossbench.bench.measure.memory import Memory
from lossbench.bench.submit.again import compare_again, plan_again, sample_cells
from lossbench.bench.submit.bundle import read_bundle
from lossbench.bench.submit.checks import check_bundle
from lossbench.bench.timing.samples import Samples, Timing
from tests.makers.records import BAD, ENVIRONMENT
from tests.makers.runs import save_run
from tests.makers.submissions import CASE, FACTORS, bundle_of, possible, times

FUSED = possible("fused")
OLD = replace(ENVIRONMENT, commit="0" * 40)
THERE = replace(ENVIRONMENT, machine="there", cpu="another processor")


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    """Reading all shipped records takes seconds."""
    monkeypatch.setattr(verify, "known_records", list)


def verified(folder, records, known=()):
    return [str(each) for each in check_bundle(read_bundle(bundle_of(folder, records)), known)]


def test_an_honest_bundle_is_accepted(tmp_path):
    assert verified(tmp_path, None) == []


def drifting():
    """Return a variant with times of a reference four times slower than the run's own."""
    processes = [
        Samples(p.seconds, tuple(4 * x for x in p.reference_seconds), 1)
        for p in times(0.5).processes
    ]
    return possible("fused", step=Timing(tuple(processes)))


TOGETHER = {
    "another reference": ([possible("reference"), drifting()], "was taken 4.0 times the refer"),
    "the future": ([possible("fused", made="2999-01-01T00:00:00+00:00")], "made in the future"),
    "other threads": (
        [possible("fused", environment=replace(ENVIRONMENT, threads=99))],
        "not timed with the plan's number of threads",
    ),
    "twice": ([FUSED, possible("fused", made="2026-01-03")], "it is there twice"),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_records_that_contradict_each_other_are_refused(name, tmp_path):
    records, reason = TOGETHER[name]
    (found,) = verified(tmp_path, records)
    assert reason in found
    assert found.startswith("arcface fused, 64x8, C=10, cpu, gaussian: ")


def test_counts_must_be_those_of_a_known_record_of_the_same_machine_and_commit(tmp_path):
    known = possible("fused", memory=Memory(12_000, 12_000, 3000, 10, kept_bytes=0))
    (found,) = verified(tmp_path, [FUSED], [known])
    assert found.endswith("step_peak_bytes is 8.79 KiB, but 11.7 KiB in here's")
    others = [replace(known, environment=environment) for environment in (OLD, THERE)]
    for number, other in enumerate(others):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        assert verified(folder, [FUSED], [other]) == []


def sampled(count, seed):
    records = [possible(v, replace(CASE, batch=b)) for b in (32, 64, 128) for v in FACTORS]
    return [record.cell for record in sample_cells(records, count, seed)]


def test_a_sample_has_a_cell_of_each_case_by_its_seed_and_never_the_reference():
    assert sampled(2, 1) == sampled(2, 1)
    assert len({tuple(sampled(2, seed)) for seed in range(20)}) > 3
    every = sampled(9, 0)
    assert len({case for case, _ in every}) == len(every) == 3
    assert {variant for _, variant in every} <= {"fused", "vectorized"}


def test_what_this_machine_cannot_measure_is_not_drawn():
    cuda = possible("fused", replace(CASE, device="cuda"))
    large = possible("fused", memory=Memory(2**50, 2**50, 3000, 10))
    untimed = replace(FUSED, step=None, forward=None, status="refused", agreement=(BAD,))
    assert sample_cells([cuda, large, untimed], 3, 0) == []


def test_a_sample_is_planned_beside_the_reference():
    plan = plan_again([FUSED], threads=64, budget_seconds=0.5)
    assert plan.tasks == ((CASE, ("reference", "fused")),)
    assert plan.threads <= 64


SLOWER = possible("fused", factor=0.99)
MUCH_SLOWER = possible("fused", factor=3.0)
BIGGER = possible("fused", memory=Memory(12_000, 12_000, 3000, 10, kept_bytes=0))
HUGE = possible("fused", memory=Memory(900_000, 900_000, 3000, 10, kept_bytes=0))
WRONG = replace(FUSED, status="refused", reason="off", step=None, forward=None, agreement=(BAD,))
LOST = replace(WRONG, status="oom", reason="no memory", agreement=())


@pytest.mark.parametrize(
    ("found", "environment", "reason"),
    [
        (FUSED, ENVIRONMENT, ""),
        (SLOWER, ENVIRONMENT, "a speed-up of 2x"),
        (SLOWER, THERE, ""),
        (MUCH_SLOWER, THERE, "a speed-up of 2x"),
        (BIGGER, ENVIRONMENT, "step_peak_bytes is 8.79 KiB, but 11.7 KiB here"),
        (BIGGER, OLD, ""),
        (HUGE, OLD, "step_peak_bytes is 8.79 KiB, but 879 KiB here; another machine or code"),
        (WRONG, ENVIRONMENT, "it is refused here: off"),
        (LOST, ENVIRONMENT, ""),
    ],
)
def test_what_is_measured_again_may_differ_as_far_as_machine_and_code_do(
    found, environment, reason
):
    claimed = replace(FUSED, environment=environment)
    (comparison,) = compare_again([claimed], [found])
    assert reason in str(comparison.refusal or "")
    assert (comparison.refusal is None) == (not reason)


@pytest.fixture
def measuring(monkeypatch):
    """Have the command find given records instead of measuring."""

    def give(factor):
        def measured(plan):
            return [possible(v, case, factor if v == "fused" else None) for case, v in plan.cells]

        monkeypatch.setattr(verify, "measured", measured)

    return give


def test_what_is_measured_is_a_run_of_the_plan_that_leaves_no_folder(monkeypatch, tmp_path):
    def measure(folder, plan, _watcher):
        save_run(folder, [possible(variant, case) for case, variant in plan.cells])

    monkeypatch.setattr(verify, "run", measure)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plan = plan_again([FUSED], threads=1, budget_seconds=1.0)
    assert [record.cell for record in verify.measured(plan)] == plan.cells
    assert not list(tmp_path.iterdir())


def test_the_command_tells_its_time_measures_and_accepts(tmp_path, measuring, capsys):
    measuring(0.5)
    bundle = bundle_of(tmp_path, [possible("reference"), FUSED])
    assert main(["verify", str(bundle), "--seed", "5"]) == 0
    out, errors = capsys.readouterr()
    assert "measuring 1 of its cells, drawn with --seed 5: about " in errors
    assert "submitted 2x [" in out.replace("\n ", "")
    assert out.splitlines()[-1] == "accepted: checked, and 1 cell measured with seed 5"
    assert all(len(line) <= 80 for line in out.splitlines())


def test_the_command_refuses_what_it_does_not_find(tmp_path, measuring, capsys):
    measuring(1.5)
    bundle = bundle_of(tmp_path, [possible("reference"), FUSED])
    assert main(["verify", str(bundle), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["kind"] for row in rows] == ["refused", "measured"]
    assert "same machine and code" in rows[0]["text"]


def test_a_bundle_of_which_nothing_can_be_measured_here_is_only_checked(tmp_path, capsys):
    assert main(["verify", str(bundle_of(tmp_path, [possible("reference")]))]) == 0
    assert "none of its cells can be measured here" in capsys.readouterr().out


def test_submit_refuses_what_verify_would(tmp_path, capsys):
    bundle_of(tmp_path, [possible("fused", step=times(0.1))])
    file = tmp_path / "again.bundle.zip"
    assert main(["submit", str(tmp_path / "run"), "--out", str(file)]) == 1
    assert capsys.readouterr().out.startswith("refused: arcface fused, 64x8, C=10, cpu, gaussian: ")
    assert not file.exists()


def test_a_bundle_of_stopped_and_uncommitted_work_is_accepted_with_notes(tmp_path, capsys):
    dirty = replace(ENVIRONMENT, dirty=True)
    bundle = bundle_of(tmp_path, [possible("fused", environment=dirty)])
    assert main(["verify", str(bundle), "--no-measure"]) == 0
    assert "note: 1 record of uncommitted code" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_of_this_machine_is_verified_by_measuring(tmp_path, capsys):
    size = ("--loss", "center_mse", "--batch", "32", "--variant", "vectorized", "--budget", "0.3")
    assert main(["run", *size, "--out", str(tmp_path / "run")]) == 0
    file = tmp_path / "run.bundle.zip"
    capsys.readouterr()
    code = main(["submit", str(tmp_path / "run"), "--out", str(file)])
    refusals = [line for line in capsys.readouterr().out.splitlines() if "refused: " in line]
    if refusals and all("was busy while its rates were measured" in each for each in refusals):
        pytest.skip("the machine is busy, and its runs are refused for it")
    assert (code, refusals) == (0, [])
    assert main(["verify", str(file), "--cells", "1", "--budget", "0.3"]) == 0
    assert "accepted: checked, and 1 cell measured" in capsys.readouterr().out
