"""Every contender gets the status that it deserves, and no honest one suffers from the others."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from lossbench import impls
from lossbench.bench.measure.memory import Memory
from lossbench.bench.selftest import mixed
from lossbench.bench.selftest.contenders import (
    PUBLIC_CHEATS,
    contenders,
    enter,
    public_cheat,
)
from lossbench.bench.selftest.mixed import Bystander, MixedPlan, measure_contenders
from lossbench.bench.timing.samples import Samples, Timing
from tests.makers.outside import registry_kept
from tests.makers.records import record


def test_contenders_have_names_of_their_own():
    cells = Counter(each.cell for each in contenders("cpu"))
    assert cells.most_common(1)[0][1] == 1


def test_every_public_cheat_is_tried_or_needs_cuda():
    tried = {public_cheat(each.name) for each in contenders("cpu")}
    assert len(PUBLIC_CHEATS) == 16
    assert set(PUBLIC_CHEATS) - tried == {"work on another stream than the timed one"}
    assert set(PUBLIC_CHEATS) <= {public_cheat(each.name) for each in contenders("cuda")}


def test_no_public_cheat_names_a_contender_that_is_not_there():
    named = {name for names in PUBLIC_CHEATS.values() for name in names}
    assert named <= {each.name for each in contenders("cuda")}


def test_contenders_are_of_every_kind_and_status():
    found = contenders("cpu")
    assert {each.kind for each in found if each.quick} == {each.kind for each in found} - {
        "wrong on irregular batches"
    }
    assert {each.expected for each in found} >= {"passed", "refused", "failed", "crashed"}
    assert {each.expected for each in found} >= {"timeout", "oom"} or sys.platform != "linux"


def test_entered_contenders_are_variants_of_their_loss():
    (zeros, *_) = (each for each in contenders("cpu") if each.name == "zeros")
    with registry_kept():
        enter([zeros.cell], "cpu")
        assert impls.implementation(*zeros.cell).variant == "zeros"


@pytest.mark.slow
def test_a_run_with_bad_contenders_gives_each_its_status_and_harms_no_honest_one():
    entered = tuple(each for each in contenders("cpu") if each.quick)
    told = []
    plan = MixedPlan(
        entered, "cpu", threads=1, processes=1, budget_seconds=1.0, variants=("vectorized",)
    )
    tried, bystanders = measure_contenders(plan, told.append)
    assert [each for each in tried if not each.right] == []
    # Times of one process under the load of other tests differ too often to be compared here.
    assert [n for n in bystanders if n.difference] == []
    assert {n.variant for n in bystanders} >= {"reference", "vectorized", "none_an_honest_copy"}
    assert len(told) == 2


def in_time(seconds):
    samples = Samples(tuple(seconds * (1 + i / 1e4) for i in range(20)), (1e-3,) * 20, 1)
    times = Timing((samples,) * 3)
    return replace(record(), variant="fused", forward=times, step=times)


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        (in_time(5e-4), ("", "")),
        (in_time(5.1e-4), ("", "")),
        (in_time(8e-4), ("", "forward: 1.25x instead of 2x; step: 1.25x instead of 2x")),
        (replace(in_time(5e-4), memory=Memory(5, 6, 7, 8)), ("other figures of memory", "")),
        (replace(in_time(5e-4), forward=None), ("no forward times on one side", "")),
        (
            replace(in_time(5e-4), status="crashed", reason="it died", forward=None, step=None),
            ("crashed instead of passed: it died", ""),
        ),
        (None, ("no record", "")),
    ],
)
def test_every_difference_of_an_honest_variant_is_told(beside, expected):
    alone = in_time(5e-4)
    cell = (alone.case.loss, "fused")
    found = mixed._bystanders(
        mixed._Run({cell: alone}, ()), mixed._Run({cell: beside} if beside else {}, ())
    )
    assert list(found)[2:] == [Bystander(*cell, *expected)]


def test_an_honest_variant_that_fails_by_itself_is_told():
    failed = replace(in_time(5e-4), status="failed", reason="no", forward=None, step=None)
    assert mixed._difference(failed, failed) == "failed even without them: no"


def test_a_run_that_fails_or_leaves_processes_is_told(tmp_path):
    printed = tmp_path / "printed"
    child = subprocess.Popen(["sleep", "600"], env={**os.environ, mixed.MARK: str(printed)})
    try:
        faults = list(mixed._execute(["--batch", "0"], printed))
    finally:
        child.kill()
        child.wait()
    assert len(faults) == 2
    assert "exit code 2: error: " in faults[0]
    assert faults[1] == "1 processes outlived the run"


def test_a_run_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(mixed, "RUN_SECONDS", 0.2)
    faults = list(mixed._execute(["--help"], tmp_path / "printed"))
    assert faults == ["the run did not end within 0 s"]
