"""A report answers as ``choose`` does, from the records of all its runs together."""

import json
from dataclasses import replace

import pytest

from lossbench.bench.report import answers
from lossbench.bench.report.answers import answer_texts, settings_of
from lossbench.bench.report.payload import payload
from tests.makers.choices import HEADS, HERE, ISLAND, THREE, ask, elsewhere, lost, seen
from tests.makers.records import ENVIRONMENT

DIRTY = replace(ENVIRONMENT, dirty=True)
LATER = "2027-01-02T03:04:05+00:00"


def only(settings):
    """Return the one answer of the one setting."""
    (setting,) = settings
    (answer,) = setting.answers
    return answer


def test_an_answer_is_that_of_choose():
    mine, theirs = only(settings_of(HEADS)), ask(HEADS, HEADS[0].case)
    assert mine == replace(theirs, changes=())
    texts = answer_texts(mine)
    assert texts["use"] == "fused"
    assert [value for value, _ in texts["figures"]] == ["5.0× as fast", "2.93 KiB", "5e-08"]
    assert texts["also"][0].startswith("with --compiled: vectorized+compile, 2.0 times as fast")


def test_of_several_runs_of_a_machine_the_better_records_count():
    again = seen("fused", 9e-4, made=LATER, environment=DIRTY)
    answer = only(settings_of([*THREE, again]))
    assert answer.best.step_seconds == pytest.approx(2e-4, rel=0.01)
    assert answer.source.passed_over == {"of uncommitted code": 1}


def test_one_machine_is_one_under_whatever_name_and_another_is_another_setting():
    renamed = elsewhere(THREE[2:], "renamed")
    assert only(settings_of([*THREE[:2], *renamed])).best.variant == "fused"
    other = elsewhere(THREE, "other", cores=128)
    found = settings_of([*other, *THREE], HERE)
    assert [setting.pool.host.cores for setting in found] == [HERE.cores, 128]


def test_a_size_without_times_and_another_seed_have_no_answer():
    seeded = [replace(each, case=replace(each.case, seed=1)) for each in THREE]
    assert settings_of([*seeded, lost("fused", replace(ISLAND, batch=8))]) == []


def test_too_many_sizes_keep_those_with_most_variants(monkeypatch):
    monkeypatch.setattr(answers, "MOST_ANSWERS", 1)
    few = [seen("reference", 1e-3, replace(ISLAND, batch=batch)) for batch in (16, 32)]
    (setting,) = settings_of([*few, *THREE])
    assert [each.request.case.batch for each in setting.answers] == [ISLAND.batch]
    assert setting.untold == 2


def test_the_data_of_a_page_cannot_end_its_script():
    records = [
        replace(each, environment=replace(ENVIRONMENT, machine="</script>")) for each in THREE
    ]
    text = payload(settings_of(records), ["island", "gone"])
    assert "<" not in text
    data = json.loads(text)
    assert data["settings"][0]["machine"].startswith("</script>")
    assert data["losses"]["island"]["formula"].startswith("<math")
    assert data["losses"]["gone"] == {}
    assert len(data["settings"][0]["points"]) == len(THREE)
