"""Records of former schemas are read; they are written by hand in the form of their versions."""

import json
import math
from copy import deepcopy

import pytest

from lossbench.bench.errors import UsageError
from lossbench.bench.run.former import SCHEMA, upgrade
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS

TIMES = {"seconds": [2e-5, 3e-5], "reference_seconds": [4e-5, 6e-5], "calls": 87}
FIRST = {
    "case": {
        "loss": "softmax", "batch": 64, "dim": 64, "classes": 10, "dtype": "float32",
        "device": "cpu", "data": "digits", "seed": 0,
    },
    "variant": "fused",
    "status": "passed",
    "environment": {
        "machine": "here", "cpu": "AMD EPYC", "cores": 2, "memory_bytes": 25276510208, "threads": 2,
        "load": 1.66, "gpu": "", "cuda": "", "torch": "2.13.0+cpu", "torch_commit": "cf30153c",
        "python": "3.11.7", "system": "Linux", "commit": "0a88c406", "dirty": False,
        "packages": {"numpy": "2.4.6"}, "variables": {},
    },
    "made": "2026-11-22T03:54:51+00:00",
    "reason": "",
    "agreement": [
        {"quantity": "out.loss", "error": 1e-7, "reference_error": 1e-7, "budget": 1.5e-6},
    ],
    "memory": {
        "forward_peak_bytes": 5128, "step_peak_bytes": 21512, "saved_bytes": 2568, "allocations": 9,
    },
    "forward": TIMES,
    "step": TIMES,
    "compilation": None,
    "conformance": [
        {"input": "NaN", "reference": "finite", "given": "finite", "grade": "same", "reason": ""},
    ],
    "schema": 1,
}  # fmt: skip


def read(folder, *documents):
    (folder / RECORDS).write_text("".join(f"{json.dumps(each)}\n" for each in documents))
    return read_records(folder)


def test_a_record_of_schema_1_keeps_its_figures(tmp_path):
    (record,) = read(tmp_path, FIRST)
    assert record.schema == SCHEMA == 2
    assert record.step.processes[0].seconds == (2e-5, 3e-5)
    assert record.step.speedup.median == pytest.approx(2)
    assert record.memory.step_peak_bytes == 21512
    assert record.environment.conditions.load == 1.66
    assert record.conformance[0].input == "NaN"


def test_what_schema_1_did_not_keep_is_not_made_up(tmp_path):
    (record,) = read(tmp_path, FIRST)
    (part,) = record.agreement
    assert part.draw is None
    assert math.isnan(part.ulps)
    assert (record.counters, record.ceilings, record.limit("step")) == (None, None, None)
    assert record.environment.affinity == ()


def test_a_record_of_schema_1_without_times_is_read(tmp_path):
    lost = {"agreement": [], "memory": None, "forward": None, "step": None}
    (record,) = read(tmp_path, {**FIRST, "status": "oom", "reason": "no memory", **lost})
    assert (record.status, record.step, record.memory) == ("oom", None, None)


def test_reading_changes_nothing_of_what_was_given():
    given = deepcopy(FIRST)
    upgrade(given)
    assert given == FIRST


def test_a_record_of_schema_1_that_cannot_be_read_names_the_commit_that_can(tmp_path):
    document = deepcopy(FIRST)
    del document["environment"]["load"]
    with pytest.raises(
        UsageError, match=r"line 1: schema 1: expected its fields, .*'load'.*0a88c406"
    ):
        read(tmp_path, document)
