"""Promises are checked by shares of trials, and the committed figures keep all promises."""

import json

import pytest
from pydantic import TypeAdapter

from lossbench.bench.choose.trial import TrialReport
from lossbench.bench.gate.proof import Proof
from lossbench.bench.paths import SELFTESTS
from lossbench.bench.promises import Share, judge_promise
from lossbench.bench.selftest.report import SelfTestReport


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 60, 0, 0.0596), (3, 60, 0.0104, 0.1392), (60, 60, 0.9404, 1), (0, 0, 0, 1)],
)
def test_the_interval_of_a_share_is_clopper_and_pearsons(count, total, low, high):
    assert Share(count, total).interval == pytest.approx((low, high), abs=1e-4)


def test_a_share_is_shown_in_per_cent():
    assert str(Share(3, 60)) == "3/60 5% [1, 14]"
    assert str(Share(0, 0)) == "0/0"


@pytest.mark.parametrize(
    ("total", "holds", "outcome"),
    [
        (20, True, "holds"),
        (20, False, "fails"),
        (19, True, "too few trials to judge"),
        (19, False, "too few trials to judge"),
    ],
)
def test_too_few_trials_neither_keep_nor_break_a_promise(total, holds, outcome):
    check = judge_promise("it is quiet", Share(0, total), holds=holds, fewest=20)
    assert (check.promise, check.outcome) == ("it is quiet", outcome)
    assert check.found == str(Share(0, total))


def contains(whole, part):
    """Tell whether JSON holds all of other JSON; fields that were added since may be more."""
    if isinstance(part, dict):
        return part.keys() <= whole.keys() and all(contains(whole[k], part[k]) for k in part)
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return whole == part


@pytest.mark.parametrize(
    ("name", "kind"), [("selftest", SelfTestReport), ("gate", Proof), ("choose", TrialReport)]
)
def test_the_committed_figures_are_read_completely_and_keep_every_promise(name, kind):
    files = list(SELFTESTS.glob(f"*/{name}.json"))
    assert files
    for file in files:
        text = file.read_text()
        if json.loads(text)["schema"] < kind.schema:
            pytest.skip(f"{file} was measured by an older version; measure again")
        report = TypeAdapter(kind).validate_json(text)
        assert contains(json.loads(report.to_json()), json.loads(text))
        assert {check.outcome for check in report.checks} == {"holds"}
