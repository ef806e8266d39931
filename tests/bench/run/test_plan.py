"""A plan that was kept: what it may ask for, and where it may be resumed."""

import json
from dataclasses import replace

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.run.plan import PLAN, RunPlan, read_plan, start_run

PLANNED = RunPlan(((Case("island", 4, 2, 3), ("reference",)),), 1.0, 60.0, 1, "here")


def edited(folder, **changes):
    start_run(folder, PLANNED)
    path = folder / PLAN
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def test_a_plan_is_read_as_it_was_kept(tmp_path):
    assert read_plan(edited(tmp_path)) == PLANNED


@pytest.mark.parametrize(
    "changes",
    [
        {"budget_seconds": "NaN"},
        {"budget_seconds": 0},
        {"timeout_seconds": -1},
        {"threads": 0},
        {"processes": 0},
        {"memory_bytes": -1},
        {"half_width": 0},
        {"tasks": None},
    ],
)
def test_a_plan_that_cannot_be_measured_is_damaged(tmp_path, changes):
    with pytest.raises(UsageError, match=r"plan\.json is damaged; start a new run"):
        read_plan(edited(tmp_path, **changes))


def test_processors_of_another_machine_are_named(tmp_path):
    start_run(tmp_path, replace(PLANNED, affinity=(99_998, 99_999)))
    with pytest.raises(UsageError, match="may not use: 99998, 99999; resume it where it began"):
        read_plan(tmp_path)
