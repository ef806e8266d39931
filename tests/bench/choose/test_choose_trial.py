"""``choose-check`` draws sizes, chooses for them, and compares the choices with measurements."""

from dataclasses import replace

import pytest

from lossbench import impls
from lossbench.bench.choose.drawn import plan_of, predict
from lossbench.bench.choose.sources import Host, NotMeasured
from lossbench.bench.choose.trial import TrialReport, trial_of, trial_table
from lossbench.bench.errors import UsageError
from lossbench.bench.format import plain_text
from tests.makers.choices import HERE, THREE, full, lost, seen
from tests.makers.records import ENVIRONMENT

MACHINE = "2-core-epyc"


def drawn(count, seed=0, **changes):
    """Return predictions between real records, on the machine that made them."""
    host = replace(Host.of(full()[0].environment, "cpu"), **changes)
    return predict(full(), "cpu", MACHINE, host, count, seed)


def test_the_trial_draws_sizes_without_records_and_again_the_same():
    found = drawn(6, seed=3)
    cases = {prediction.case for prediction in found}
    assert len(cases) == 6
    assert not cases & {record.case for record in full()}
    assert all(prediction.ranking.best.basis == "modelled" for prediction in found)
    assert [p.case for p in drawn(6, seed=3)] == [p.case for p in found]
    plan = plan_of(found, 1.0, 2, "here")
    assert all("+" not in variant for _, variant in plan.cells)
    assert plan.processes == 3


def test_a_choice_for_another_machine_is_not_put_on_trial():
    with pytest.raises(NotMeasured, match=r"a machine like .* 99 threads.*, got those of 2-core"):
        drawn(1, threads=99)


def test_too_few_sizes_to_draw_are_told():
    with pytest.raises(
        UsageError, match="expected records to answer 5 other sizes, got 0; use a smaller"
    ):
        predict(THREE, "cpu", "", HERE, count=5, seed=0)


def report_of(trials):
    stamp = {"environment": ENVIRONMENT, "made": "2026-01-01", "budget_seconds": 1.0}
    return TrialReport(**stamp, seed=0, trials=tuple(trials))


@pytest.mark.parametrize(("others", "within"), [(4.5e-4, True), (4e-4, False)])
def test_a_choice_is_right_within_a_tenth_of_the_best(others, within):
    (prediction,) = drawn(1)
    chosen, case = prediction.ranking.best.variant, prediction.case
    other = next(i.variant for i in impls.implementations(case.loss) if i.variant != chosen)
    found = trial_of(prediction, [seen(chosen, 4.8e-4, case), seen(other, others, case)])
    assert (found.within, found.best) == (within, other)
    assert not trial_of(prediction, [lost(chosen, case)]).within
    report = report_of([found] * 10)
    assert report.checks[0].outcome == ("holds" if within else "fails")
    assert report.always(other).count == 10
    assert f"always {other}: 10/10" in plain_text(trial_table(report))


def trial(**changes):
    """Return the trial of a choice that was right, with changes."""
    (prediction,) = drawn(1)
    chosen, case = prediction.ranking.best.variant, prediction.case
    found = trial_of(prediction, [seen(chosen, 1e-4, case)])
    return replace(found, **{"verdict": "clear", **changes})


@pytest.mark.parametrize(("right", "code"), [(38, 0), (37, 1)])
def test_nineteen_in_twenty_must_be_right(right, code):
    assert report_of([trial()] * right + [trial(ratio=None)] * (40 - right)).exit_code == code


@pytest.mark.parametrize(("unclear", "code"), [(10, 0), (11, 1)])
def test_a_quarter_may_be_unclear(unclear, code):
    doubtful = [trial(verdict="unclear")] * unclear
    assert report_of([trial()] * (40 - unclear) + doubtful).exit_code == code
