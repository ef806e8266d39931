"""The records that ``choose`` uses, and the shipped table that is made from records."""

import json
from dataclasses import replace

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.shipped import table_text
from lossbench.bench.choose.sources import (
    NotMeasured,
    OtherMachine,
    choose_pools,
    load_readable,
    load_records,
    pools_of,
)
from lossbench.bench.choose.text import answer_text
from lossbench.bench.errors import UsageError
from lossbench.bench.format import plain_text
from lossbench.bench.measure.conformance import Conformance
from lossbench.bench.run.records import RECORDS
from tests.makers.choices import ARC, HERE, ISLAND, THREE, ask, elsewhere, lost, seen
from tests.makers.records import ENVIRONMENT
from tests.makers.runs import save_run


def test_the_records_of_several_machines_are_never_mixed():
    far = elsewhere([seen("vectorized", 1e-5)], cpu="another")
    pools = pools_of([*THREE, *far], ISLAND)
    assert [pool.host.machine for pool in choose_pools(pools, ISLAND, "", HERE)] == ["here"]
    (named,) = choose_pools(pools, ISLAND, "there", HERE)
    assert {record.variant for record in named.records} == {"vectorized"}
    with pytest.raises(OtherMachine, match="expected one of: here, there"):
        choose_pools(pools, ISLAND, "nowhere", HERE)


@pytest.mark.parametrize("changes", [{"cpu": "another"}, {"cores": 64}])
def test_another_machine_must_be_named(changes):
    pools = pools_of(elsewhere(THREE, **changes), ISLAND)
    with pytest.raises(OtherMachine, match=r"--machine there uses those of there .*--measure"):
        choose_pools(pools, ISLAND, "", HERE)
    with pytest.raises(NotMeasured, match="no records of island in float32 on cpu"):
        choose_pools([], ISLAND, "", HERE)


def test_records_of_another_torch_serve_only_without_those_of_this_one():
    other = pools_of(elsewhere(THREE, torch="1.0"), ISLAND)
    assert choose_pools(other, ISLAND, "", HERE) == other
    both = pools_of([*elsewhere(THREE, "here", torch="1.0"), *THREE], ISLAND)
    assert [pool.host.torch for pool in choose_pools(both, ISLAND, "", HERE)] == [HERE.torch]
    named = choose_pools(both, ISLAND, "here", HERE)
    assert [pool.host.torch for pool in named] == [HERE.torch, "1.0"]


def test_the_newest_record_of_a_cell_counts():
    newer = seen("vectorized", 1e-4, made="2026-02-01T00:00:00+00:00")
    assert ask([newer, *THREE]).best.variant == "vectorized"


def test_a_run_that_cannot_be_read_is_left_out_and_told(tmp_path):
    save_run(tmp_path / "good", THREE[:1])
    old = save_run(tmp_path / "old", THREE[:1])
    (old / RECORDS).write_text('{"schema": 99}\n')
    records, reasons = load_readable([tmp_path])
    assert records == [THREE[0]]
    assert "schema 99; this version reads schemas 1, 2" in reasons[0]
    with pytest.raises(UsageError, match="schema 99"):
        load_records([tmp_path])


def test_the_table_names_what_everyone_can_take_and_is_clearly_faster():
    worse = (Conformance("NaN", "finite", "finite", "worse", "out.loss"),)
    case = Case("normface", 64, 128, 100)
    records = [
        seen("reference", 1e-3, case),
        seen("pml", 1e-4, case),
        seen("fused", 2e-4, case),
        seen("vectorized", 9.9e-4, case, noise=0.1),
        seen("fused+compile", 1e-4, case, compile_seconds=1.0),
        seen("fused", 2e-4, replace(case, batch=256), conformance=worse),
        seen("reference", 1e-3, replace(case, batch=256)),
        seen("fused", 2e-4, replace(case, batch=512)),
    ]
    lines = json.loads(table_text(records))["losses"]["normface"]
    assert [(line["batch"], line["variants"]) for line in lines] == [
        (64, ["fused", "reference"]),
        (256, ["reference"]),
    ]
    assert lines[0]["speedups"] == [5.0, 1.0]
    assert table_text(reversed(records)) == table_text(records)


def test_a_table_of_nothing_is_refused():
    with pytest.raises(UsageError, match="no record was timed beside its reference"):
        table_text([lost("reference")])
    with pytest.raises(UsageError, match="'here' has records of several processors"):
        table_text([*THREE, *elsewhere([seen("fused", 1e-4, ARC)], "here", cpu="another")])


def test_clean_records_come_before_newer_dirty_ones():
    dirty = replace(ENVIRONMENT, dirty=True)
    newer = seen("fused", 9e-4, environment=dirty, made="2026-02-01T00:00:00+00:00")
    assert ask([*THREE, newer]).best.step_seconds == pytest.approx(2e-4, rel=0.01)
    text = plain_text(answer_text(ask([*THREE, newer])))
    assert "uncommitted" not in text


def test_a_dirty_record_and_a_compile_time_of_the_former_method_are_marked():
    dirty = replace(ENVIRONMENT, dirty=True)
    records = [
        *THREE[:2],
        replace(THREE[2], environment=dirty),
        seen("fused+compile", 3e-4, compile_seconds=0.5),
    ]
    text = " ".join(plain_text(answer_text(ask(records))).split())
    assert "use fused*" in text
    assert "0.5 s~" in text
    assert "* measured with uncommitted changes" in text
    assert "~ compile time measured in a process that had compiled before" in text
