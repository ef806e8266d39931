"""The records that ``choose`` uses, and the shipped table that is made from records."""

from dataclasses import replace

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.choose.sources import (
    NotMeasured,
    choose_pools,
    load_readable,
    load_records,
    pools_of,
)
from lossbench.bench.choose.text import answer_text
from lossbench.bench.errors import UsageError
from lossbench.bench.format import counted, plain_text
from lossbench.bench.run.records import RECORDS
from tests.makers.choices import CROSSING, HERE, ISLAND, THREE, ask, elsewhere, full, seen
from tests.makers.records import ENVIRONMENT
from tests.makers.runs import save_run


def test_the_records_of_several_machines_are_never_mixed():
    far = elsewhere([seen("vectorized", 1e-5)], cpu="another")
    pools = pools_of([*THREE, *far], ISLAND)
    here, there = choose_pools(pools, ISLAND, "", HERE)
    assert [pool.machines for pool in (here, there)] == [["here"], ["there"]]
    (named,) = choose_pools(pools, ISLAND, "there", HERE)
    assert {record.variant for record in named.records} == {"vectorized"}
    with pytest.raises(NotMeasured, match="expected one of: here, there"):
        choose_pools(pools, ISLAND, "nowhere", HERE)
    with pytest.raises(NotMeasured, match="no records of island in float32 on cpu"):
        choose_pools([], ISLAND, "", HERE)


def test_one_host_is_one_host_under_whatever_name():
    (pool,) = pools_of([*THREE[:2], *elsewhere(THREE[2:], "renamed")], ISLAND)
    assert pool.machines == ["here", "renamed"]
    assert set(pool.models) == {"reference", "vectorized", "fused"}
    assert choose_pools([pool], ISLAND, "renamed", HERE) == [pool]


@pytest.mark.parametrize("changes", [{"cpu": "another"}, {"cores": 64}])
def test_another_machines_answer_is_given_and_told(changes):
    found = ask(elsewhere(THREE, **changes), here=HERE)
    assert found.best.variant == "fused"
    lines = plain_text(answer_text(found)).splitlines()
    assert "of another machine: this is " in lines[2]


def test_another_number_of_threads_is_not_called_another_machine():
    found = ask(THREE, here=replace(HERE, threads=HERE.threads + 1))
    here = f"torch has {HERE.threads + 1} here"
    assert found.doubts == (
        f"measured with {counted(HERE.threads, 'thread')}: {here}; --measure measures so",
    )


def test_a_size_that_no_machine_holds_is_told_and_not_offered_to_be_measured():
    found = ask(full(), Case("arcface", 10_000_000, 512, 100_000_000))
    doubt = found.doubts[-1]
    assert doubt.startswith("too large for this machine: ")
    assert "PiB beside its inputs; there are" in doubt
    assert found.measurement == ""
    lines = plain_text(answer_text(found)).splitlines()
    assert not any("lossbench run" in line or line.endswith("To find out:") for line in lines)


def test_records_of_another_torch_serve_only_without_those_of_this_one():
    other = elsewhere(THREE, torch="1.0")
    (doubt,) = ask(other, here=HERE).doubts
    assert doubt.startswith(f"of another torch: this is torch {HERE.torch}")
    pools = pools_of([*elsewhere(THREE, "here", torch="1.0"), *THREE], ISLAND)
    chosen = choose_pools(pools, ISLAND, "", HERE)
    assert [pool.host.torch for pool in chosen] == [HERE.torch, "1.0"]


def test_of_this_machine_a_distant_size_is_not_preferred_to_anothers_near_one():
    near = elsewhere(CROSSING, cpu="another")
    found = ask([*THREE, *near], replace(ISLAND, batch=100), here=HERE)
    assert (found.source.machines, found.best.basis) == (("there",), "modelled")


def test_a_noisy_newer_record_does_not_replace_a_good_one_and_is_counted():
    noisy = seen("vectorized", 1e-4, noise=0.8, made="2026-02-01T00:00:00+00:00")
    found = ask([*THREE, noisy])
    assert found.best.variant == "fused"
    assert found.source.passed_over == {"with a wide interval": 1}
    text = plain_text(answer_text(found))
    assert "passed over for better records: 1 with a wide interval" in text


def test_the_newest_of_equally_good_records_counts():
    newer = seen("vectorized", 1e-4, made="2026-02-01T00:00:00+00:00")
    found = ask([newer, *THREE])
    assert (found.best.variant, found.source.passed_over) == ("vectorized", {"older": 1})


def test_a_run_that_cannot_be_read_is_left_out_and_told(tmp_path):
    save_run(tmp_path / "good", THREE[:1])
    old = save_run(tmp_path / "old", THREE[:1])
    (old / RECORDS).write_text('{"schema": 99}\n')
    records, reasons = load_readable([tmp_path])
    assert records == [THREE[0]]
    assert "schema 99; this version reads schemas 1, 2" in reasons[0]
    with pytest.raises(UsageError, match="schema 99"):
        load_records([tmp_path])


def test_clean_records_come_before_newer_dirty_ones():
    dirty = replace(ENVIRONMENT, dirty=True)
    newer = seen("fused", 9e-4, environment=dirty, made="2026-02-01T00:00:00+00:00")
    assert ask([*THREE, newer]).best.step_seconds == pytest.approx(2e-4, rel=0.01)
    found = ask([*THREE, newer])
    assert found.source.passed_over == {"of uncommitted code": 1}
    assert not found.best.dirty


def test_a_dirty_record_and_a_compile_time_of_the_former_method_are_marked():
    dirty = replace(ENVIRONMENT, dirty=True)
    records = [
        *THREE[:2],
        replace(THREE[2], environment=dirty),
        seen("fused+compile", 1e-4, compile_seconds=0.5),
    ]
    found = ask(records)
    text = " ".join(plain_text(answer_text(found)).split())
    assert "use fused*" in text
    assert "compiling takes 0.5 s~" in text
    assert "* measured with uncommitted changes" in text
    assert "~ compile time measured in a process that had compiled before" in text
