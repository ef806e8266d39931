"""Planted exponents are found, and the predicted largest batch really runs."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.cli import main
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.scaling.largest import (
    SizeTrial,
    enclose,
    find_largest,
    fit_bytes,
    largest_within,
)
from lossbench.bench.scaling.laws import Counted, Point, axes_of, fit_laws, fit_power, sweep
from lossbench.bench.scaling.sweep import Sweeper, count_bytes
from lossbench.bench.timing.sampling import Sampling

MIB = 2**20
CENTRE = Case("triplet_batch_hard", batch=256, dim=32, classes=1000)
SIZES = (128, 256, 512, 1024, 2048, 4096)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5, 2.0])
def test_a_planted_exponent_is_within_its_standard_error(exponent):
    random = np.random.default_rng(0)
    law = 3e-7 * np.power(SIZES, exponent)
    fits = [fit_power(SIZES, law * random.lognormal(0, 0.1, len(SIZES))) for _ in range(200)]
    # Student's t of 4 degrees of freedom is within 3 in 96 of 100.
    within = [abs(fit.exponent - exponent) < 3 * fit.standard_error for fit in fits]
    assert 0.9 < np.mean(within) < 1
    assert np.std([fit.exponent for fit in fits]) == pytest.approx(
        np.mean([fit.standard_error for fit in fits]), rel=0.2
    )


def test_a_constant_has_the_exponent_0_and_no_error():
    fit = fit_power(SIZES, [7] * len(SIZES))
    assert (fit.exponent, fit.standard_error, fit.last) == (0, 0, 0)


def test_where_a_fixed_cost_bends_the_curve_the_last_exponent_is_right():
    fit = fit_power(SIZES, [1e6 + size**2 for size in SIZES])
    assert fit.exponent < 1.4
    assert fit.standard_error > 0.1
    assert 1.7 < fit.last < 2


def test_without_three_points_there_is_no_law():
    points = [Point(size, size * 1e-6, Counted(8, 8 * size, 4)) for size in (64, 128, 256)]
    assert fit_laws(points[:2]) == {}
    laws = fit_laws(points)
    assert laws["step_seconds"].exponent == pytest.approx(1)
    assert laws["saved_bytes"].exponent == 0


@pytest.mark.parametrize(("variant", "exponent"), [("vectorized", 2), ("fused", 1)])
def test_the_counted_memory_of_mining_has_the_exponent_it_must(variant, exponent):
    batches = (512, 1024, 2048) if variant == "fused" else (128, 256, 512)
    counted = [count_bytes(replace(CENTRE, batch=batch), variant) for batch in batches]
    peak = fit_power(batches, [count.step_peak_bytes for count in counted])
    saved = fit_power(batches, [count.saved_bytes for count in counted])
    assert saved.exponent == pytest.approx(exponent, abs=0.1)
    assert peak.exponent == pytest.approx(exponent, abs=0.1 if variant == "vectorized" else 0.3)


def test_held_bytes_are_those_of_the_inputs_the_parameters_and_the_upstream_gradient():
    arcface = Case("arcface", batch=8, dim=4, classes=10)
    assert count_bytes(arcface, "reference").held_bytes == 4 * 8 * 4 + 8 * 8 + 4 * 4 * 10
    distances = Case("pairwise_distance", batch=8, dim=4, classes=2)
    assert count_bytes(distances, "reference").held_bytes == 2 * 4 * 8 * 4 + 4 * 8 * 8


def test_a_sweep_goes_by_factors_of_two_around_its_centre():
    assert [case.dim for case in sweep(CENTRE, "dim", 5)] == [8, 16, 32, 64, 128]
    assert {case.batch for case in sweep(CENTRE, "dim", 5)} == {256}
    with pytest.raises(UsageError, match="9 points around dim 8 begin below 1; expected 16"):
        sweep(replace(CENTRE, dim=8), "dim", 9)


def test_classes_are_swept_where_the_parameters_have_them():
    assert axes_of("arcface") == ("batch", "dim", "classes")
    assert axes_of("triplet_batch_hard") == ("batch", "dim")


@pytest.mark.parametrize("coefficients", [(0, 0, 27), (5e6, 1e3, 12), (1e5, 2048, 0)])
def test_the_largest_batch_of_a_polynomial_is_exact(coefficients):
    c0, c1, c2 = coefficients
    counted = {batch: int(c0 + c1 * batch + c2 * batch**2) for batch in SIZES}
    # Half a sample's bytes more than a batch of 54321 needs.
    memory = int(c0 + c1 * 54321.5 + c2 * 54321.5**2)
    assert largest_within(fit_bytes(counted), memory) == 54321
    assert largest_within((100, 1, 0), 100) == 0


@pytest.mark.parametrize(
    ("border", "tried"),
    [
        (1010, [1000, 1020]),
        (1300, [1000, 1020, 1050, 1100, 1250, 1500]),
        (930, [1000, 980, 950, 900]),
    ],
)
def test_trials_go_outwards_until_the_limit_lies_between_two(border, tried):
    trials = list(enclose(lambda b: SizeTrial(b, "ran" if b <= border else "oom"), 1000))
    assert [trial.batch for trial in trials] == tried
    assert max(t.batch for t in trials if t.fits) <= border
    assert min(t.batch for t in trials if not t.fits) > border


def test_a_trial_that_says_nothing_about_memory_is_the_last():
    assert len(list(enclose(lambda b: SizeTrial(b, "timeout"), 1000))) == 1


@pytest.fixture(scope="module")
def workers():
    both = Worker(threads=1), Worker(threads=1)
    yield both
    for worker in both:
        worker.close()


def sweeper(worker):
    return Sweeper(worker, Sampling(0.01), 120, lambda _: None)


def test_the_predicted_batch_runs_in_a_capped_worker_and_a_larger_one_does_not(workers):
    worker, fresh = workers
    scaling = sweeper(worker).along("batch", sweep(CENTRE, "batch", 3), "vectorized")
    assert scaling.reason == ""
    assert scaling.laws["step_peak_bytes"].exponent == pytest.approx(2, abs=0.05)
    found = find_largest(sweeper(worker), fresh, CENTRE, scaling, 128 * MIB)
    assert {trial.status for trial in found.trials} == {"ran", "oom"}
    assert 0.95 * found.predicted <= found.ran < found.did_not <= 1.05 * found.predicted
    slow = replace(sweeper(worker), timeout_seconds=1e-9)
    untried = find_largest(slow, fresh, CENTRE, scaling, 128 * MIB)
    assert untried.trials == ()
    assert untried.reason.startswith("not tried: a step would take about")
    assert untried.predicted == pytest.approx(found.predicted, rel=0.05)


def disagrees(_case, _variant):
    return "out.loss is off"


def test_a_variant_that_disagrees_or_crashes_is_not_timed(workers, monkeypatch):
    cases = sweep(CENTRE, "batch", 3)
    monkeypatch.setattr("lossbench.bench.scaling.sweep.disagreement", disagrees)
    refused = sweeper(workers[0]).along("batch", cases, "vectorized")
    assert refused.points == ()
    assert "out.loss is off" in refused.reason
    monkeypatch.undo()

    class Losing(Sweeper):
        def count(self, case, variant):
            if case == cases[-1]:
                raise Lost("oom", "too large")
            return super().count(case, variant)

    losing = Losing(workers[0], Sampling(0.01), 120, lambda _: None)
    lost = losing.along("batch", cases, "vectorized")
    assert [point.size for point in lost.points] == [128, 256]
    assert lost.reason == f"oom at {cases[-1]}: too large"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["arcfaec"], "no loss 'arcfaec'; did you mean 'arcface'?"),
        (["arcface", "--memory", "much"], "expected bytes such as 512MiB or 2GiB, got 'much'"),
        (["arcface", "--variant", "otl"], "no variant 'otl' of arcface; there are: reference"),
        (["arcface", "--points", "2"], "2 is not in the range x>=3"),
        (["arcface", "--batch", "2"], "5 points around batch 2 begin below 1; expected 4 or more"),
        (["arcface", "--memory", "1"], "--memory: expected 1 MiB or more for a step, got 1 B"),
    ],
)
def test_a_wrong_argument_is_reported_in_one_line(arguments, message, capsys):
    assert main(["scaling", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors
    assert out == ""


def test_the_command_shows_exponents_and_the_largest_batch(capsys):
    small = ["--batch", "64", "--dim", "16", "--classes", "64", "--points", "3", "--budget", "0.01"]
    options = ["--memory", "16MiB", "--device", "cpu", "--threads", "1"]
    arguments = ["scaling", "center_mse", "--variant", "vectorized", *small, *options]
    assert main(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    for text in ("step time B = 32 ... 128", "C = 32 ... 128", "saved for backward", "16 MiB"):
        assert text in out
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [entry["axis"] for entry in report["scalings"]] == ["batch", "dim", "classes"]
    assert report["largest"][0]["predicted"] > 0
    assert main([*arguments, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["axis"] for row in rows} == {"batch", "dim", "classes", ""}
    assert rows[-1]["quantity"] == "largest_batch"
