import dataclasses
import json
import math
import subprocess
import sys

import pytest

from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.measure.ceilings import Ceilings
from lossbench.bench.paths import ROOT
from lossbench.bench.run.appending import record_file
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import RECORDS
from lossbench.bench.timing.samples import Samples, Timing
from tests.makers.records import BAD, ENVIRONMENT, GOOD, record


@pytest.mark.parametrize("status", ["refused", "departs", "failed", "crashed", "oom", "timeout"])
def test_only_what_passed_holds_times(status):
    with pytest.raises(ValueError, match=f"a record that is {status} must have no times"):
        record(status=status)
    assert record(status=status, forward=None, step=None).step is None


@pytest.mark.parametrize("agreement", [(), (BAD,), (GOOD, BAD)])
def test_only_what_agrees_has_passed(agreement):
    with pytest.raises(ValueError, match="must have an agreement within its budget"):
        record(agreement=agreement)


@pytest.mark.parametrize(
    ("error", "budget", "share"),
    [
        (1e-8, 1e-7, 0.1),
        (math.inf, 1e-7, math.inf),
        (1e-8, math.inf, 0),
        (math.inf, math.inf, 0),
    ],
)
def test_the_share_of_a_budget_is_above_1_where_it_is_refused(error, budget, share):
    part = dataclasses.replace(GOOD, error=error, budget=budget)
    assert part.budget_share == pytest.approx(share)
    assert part.passed == (part.budget_share <= 1)


def test_the_worst_quantity_is_the_nearest_to_its_budget():
    overflowing = dataclasses.replace(BAD, quantity="grad.x", budget=math.inf)
    assert record(agreement=(overflowing, GOOD)).worst == GOOD
    assert record(agreement=(), status="failed", step=None, forward=None).worst is None


@pytest.mark.parametrize("made", ["", "yesterday"])
def test_a_record_was_made_at_some_time(made):
    with pytest.raises(ValueError, match="Invalid isoformat string"):
        record(made=made)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_a_time_is_above_0_and_finite(seconds):
    with pytest.raises(ValueError, match="expected samples above 0 and finite"):
        Samples(seconds=(1e-6, seconds), reference_seconds=(), calls=1)
    with pytest.raises(ValueError, match="expected samples above 0 and finite"):
        Samples(seconds=(1e-6,), reference_seconds=(seconds,), calls=1)


def ceilings(*dtypes):
    return Ceilings(dict.fromkeys(dtypes, 1e9), 1e9, {"forward": 1e-6, "step": 1e-6})


@pytest.mark.parametrize(("dtype", "rates"), [("float8", ["float8"]), ("float64", ["float32"])])
def test_a_dtype_without_a_ceiling_has_no_limit(dtype, rates):
    case = Case("island", batch=4, dim=2, classes=3, dtype=dtype)
    assert record(case=case, ceilings=ceilings(*rates)).limit("step") is None


def test_a_limit_is_read_without_making_the_inputs():
    case = Case("island", batch=2**40, dim=2**20, classes=10)
    assert record(case=case, ceilings=ceilings("float32")).limit("step").seconds > 0


def test_replacing_a_status_is_checked_too():
    with pytest.raises(ValueError, match="no times"):
        dataclasses.replace(record(), status="failed")


def test_a_file_gives_back_what_was_put_in(tmp_path):
    records = [
        record(),
        record(variant="reference", status="refused", agreement=(BAD,), forward=None, step=None),
    ]
    with record_file(tmp_path) as file:
        for each in records:
            file.append(each)
    assert read_records(tmp_path) == records
    lines = (tmp_path / RECORDS).read_text().splitlines()
    assert all(json.loads(line)["schema"] == 2 for line in lines)
    assert json.loads(lines[0])["environment"]["machine"] == "here"


def test_one_loss_can_be_read_alone(tmp_path):
    other = record(case=dataclasses.replace(record().case, loss="center"), reason='about "island"')
    with record_file(tmp_path) as file:
        for each in (record(), other):
            file.append(each)
    assert read_records(tmp_path, "island") == [record()]
    assert read_records(tmp_path, "center") == [other]
    assert read_records(tmp_path, "arcface") == []


def test_a_half_written_line_is_passed_over_and_cut_off(tmp_path):
    with record_file(tmp_path) as file:
        file.append(record())
    whole = (tmp_path / RECORDS).read_bytes()
    (tmp_path / RECORDS).write_bytes(whole + whole[:100])
    assert read_records(tmp_path) == [record()]
    with record_file(tmp_path) as file:
        file.append(record(variant="reference"))
    assert [r.variant for r in read_records(tmp_path)] == ["vectorized", "reference"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{not json\n", "line 2: damaged, expected a record as JSON"),
        (b"[]\n", "line 2: damaged"),
        (b"[" * 100_000 + b"\n", "line 2: damaged"),
        (b'{"schema": 99}\n', "line 2: schema 99; this version reads schemas 1, 2"),
        (b'{"schema": 99, "environment": {"commit": "abc"}}\n', "commit abc wrote it"),
        (b'{"schema": "two"}\n', "line 2: schema 'two'; this version reads"),
        (b'{"schema": {"version": 2}}\n', "line 2: schema {'version': 2}; this version reads"),
        (b"{}\n", "line 2: schema None; this version reads"),
        (b'{"schema": 2, "case": 3}\n', "line 2: case: "),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, message):
    with record_file(tmp_path) as file:
        file.append(record())
    path = tmp_path / RECORDS
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(UsageError, match=message) as raised:
        read_records(tmp_path)
    assert "elete" not in str(raised.value)


def changed(folder, old, new):
    """Write a Record, replace a text in its line, and read it."""
    with record_file(folder) as file:
        file.append(record(environment=dataclasses.replace(ENVIRONMENT, commit="abc")))
    path = folder / RECORDS
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return read_records(folder)


def test_a_record_of_what_is_no_longer_registered_is_read(tmp_path):
    (found,) = changed(tmp_path, '"island"', '"vanished"')
    assert found.case.loss == "vanished"
    (tmp_path / RECORDS).unlink()
    (found,) = changed(tmp_path, '"vectorized"', '"gone"')
    assert (found.variant, found.registered) == ("gone", False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"reason"', '"source":"x","reason"', "source: Unexpected keyword argument"),
        ('"calls":3', '"calls":"many"', r"forward.processes.0.calls: .*integer"),
    ],
)
def test_a_field_of_another_version_is_named_and_no_line_is_given_up(tmp_path, old, new, message):
    with pytest.raises(UsageError, match=message) as raised:
        changed(tmp_path, old, new)
    assert "commit abc wrote it" in str(raised.value)
    assert "elete" not in str(raised.value)


def test_times_without_a_sample_are_told(tmp_path):
    line = '"seconds":[2e-6,3e-6],"reference_seconds":[1e-6,2e-6]'
    with pytest.raises(UsageError, match="expected at least one sample, got none"):
        changed(tmp_path, line, '"seconds":[],"reference_seconds":[]')


def test_times_of_no_process_cannot_be():
    with pytest.raises(ValueError, match="the samples of at least one process"):
        Timing(())


def test_a_record_with_times_that_did_not_pass_cannot_be_read(tmp_path):
    with record_file(tmp_path) as file:
        file.append(record())
    path = tmp_path / RECORDS
    path.write_text(path.read_text().replace('"status":"passed"', '"status":"failed"'))
    with pytest.raises(UsageError, match="must have no times"):
        read_records(tmp_path)


def test_no_records_are_told(tmp_path):
    with pytest.raises(UsageError, match="expected the records of a run"):
        read_records(tmp_path)


def test_a_second_writer_is_refused(tmp_path):
    with (
        record_file(tmp_path),
        pytest.raises(UsageError, match="another run writes there"),
        record_file(tmp_path),
    ):
        pass


def test_a_full_disk_loses_nothing_that_was_recorded(tmp_path):
    """A limit on the size of files acts like a full disk: the write fails half-way."""
    script = """
import resource, sys
from pathlib import Path
from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.run.appending import record_file
from lossbench.bench.run.reading import read_records
from tests.makers.records import record
folder = Path(sys.argv[1])
with record_file(folder) as file:
    file.append(record())
    size = file.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
    try:
        file.append(record())
    except UsageError as error:
        print(error)
print(len(read_records(folder)), file.path.stat().st_size == size)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert "File too large; the records before this one are complete" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "1 True"
