"""The frame of all tools: its columns, its units, and the files that it refuses."""

import json

import pandas as pd
import pytest

import lossbench
from lossbench.bench.errors import UsageError
from lossbench.bench.frame import COLUMNS, tidy
from lossbench.bench.frame.columns import CASE_COLUMNS
from lossbench.bench.frame.pytest_benchmark import benchmark_rows, extra_info
from lossbench.bench.frame.runs import record_row
from lossbench.bench.paths import ROOT
from lossbench.bench.run.reading import each_record
from lossbench.bench.run.records import RECORDS
from tests.makers.records import BAD, record
from tests.makers.runs import save_run

REFUSED = {"status": "refused", "reason": "off", "agreement": (BAD,), "forward": None, "step": None}
ALL = (record(variant="reference"), record(), record(variant="fused", **REFUSED))


def document(*records, **changes):
    """Return the part of a pytest-benchmark file that is read."""
    return {
        "machine_info": {},
        "benchmarks": [
            {
                "fullname": f"test_step[{each.variant}]",
                "stats": {"median": 5e-6},
                "extra_info": {**extra_info(each), **changes},
            }
            for each in records
        ],
    }


def save_benchmarks(folder, *records, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "0001_saved.json"
    path.write_text(json.dumps(document(*records, **changes), indent=4))
    return path


@pytest.fixture(params=["run", "pytest-benchmark"])
def loaded(request, tmp_path):
    """Return the same two Records, as each source stores them."""
    if request.param == "run":
        save_run(tmp_path / "run", ALL[:2])
    else:
        save_benchmarks(tmp_path / "saved", *ALL[:2])
    frame = lossbench.load(tmp_path)
    assert set(frame.source) == {request.param}
    return frame


def test_every_source_has_the_same_columns(loaded):
    assert {name: str(dtype) for name, dtype in loaded.dtypes.items()} == {
        name: dtype for name, (dtype, _) in COLUMNS.items()
    }


def test_every_row_tells_where_and_of_what_it_was_made(loaded):
    assert list(loaded.machine) == ["here", "here"]
    assert list(loaded.commit) == [record().environment.commit] * 2
    assert list(loaded.made) == [pd.Timestamp("2026-01-02T03:04:05Z")] * 2


def test_times_memory_and_error_stand_in_one_row(loaded):
    row = loaded.iloc[1]
    assert row[list(CASE_COLUMNS)].to_dict() == {
        name: getattr(record().case, name) for name in CASE_COLUMNS
    }
    assert row.step_seconds == pytest.approx(2.5e-6 if row.source == "run" else 5e-6)
    assert row.forward_seconds == pytest.approx(2.5e-6)
    assert row.step_speedup == pytest.approx((0.5 * 2 / 3) ** 0.5)
    assert (row.step_speedup_low, row.step_speedup_high) == (0, float("inf"))
    assert (row.forward_peak_bytes, row.step_peak_bytes, row.saved_bytes) == (1, 2, 3)
    assert (row.error, row.worst_quantity) == (1e-8, "out.loss")
    assert row.budget_share == pytest.approx(0.1)
    assert loaded.iloc[0].verdict == "reference"


def test_a_reader_gives_no_column_that_there_is_not():
    keys = set(record_row(record())) | set(benchmark_rows(document(record()), "here")[0])
    assert keys <= set(COLUMNS)


def test_what_was_refused_has_a_row_without_times(tmp_path):
    frame = lossbench.load(save_run(tmp_path / "run", ALL))
    (row,) = frame[frame.status == "refused"].itertuples()
    assert row.reason == "off"
    assert row.error == float("inf")
    assert pd.isna(row.step_seconds)
    assert pd.isna(row.verdict)


def test_everything_below_a_folder_is_found_and_what_is_foreign_passed_over(tmp_path):
    save_run(tmp_path / "machine" / "one", ALL)
    save_run(tmp_path / "machine" / "two", ALL)
    save_benchmarks(tmp_path / "saved" / "Linux", record())
    (tmp_path / "notes.json").write_text('{"benchmarks": "of another kind"}')
    frame = lossbench.load(tmp_path)
    assert frame.groupby("source").run.nunique().to_dict() == {"run": 2, "pytest-benchmark": 1}
    assert len(frame) == 2 * len(ALL) + 1


def test_overlapping_paths_double_no_row(tmp_path, monkeypatch):
    save_run(tmp_path / "one", ALL)
    saved = save_benchmarks(tmp_path / "saved", record())
    monkeypatch.chdir(tmp_path)
    frame = lossbench.load(".", tmp_path, "one", tmp_path / "one" / RECORDS, saved)
    assert len(frame) == len(ALL) + 1
    assert len(lossbench.load("one", "one")) == len(ALL)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cut.json", '{\n    "machine_info": {"node', "cut.json: damaged"),
        ("other.json", '{"machine_info": {}, "benchmarks": 3}', "other.json: benchmarks: "),
        ("foreign.json", '{"some": "thing"}', "expected a run, results of asv, a file of"),
        ("empty.json", "", "found none"),
        (RECORDS, "nonsense\n", "line 1: damaged, expected a record"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=message) as told:
        lossbench.load(tmp_path / name)
    assert "\n" not in str(told.value)


def test_a_file_of_other_tests_is_told(tmp_path):
    path = save_benchmarks(tmp_path, record())
    saved = json.loads(path.read_text())
    saved["benchmarks"][0]["extra_info"] = {"loss": "island"}
    path.write_text(json.dumps(saved))
    with pytest.raises(
        UsageError, match=r"expected a benchmark of tests/perf with .* in its extra_info"
    ):
        lossbench.load(tmp_path)


def test_a_value_of_another_kind_is_told(tmp_path):
    save_benchmarks(tmp_path, record(), saved_bytes="many")
    with pytest.raises(UsageError, match="column saved_bytes: expected Int64"):
        lossbench.load(tmp_path)


def test_a_file_that_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "0001_gone.json").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match=r"0001_gone.json: No such file or directory"):
        lossbench.load(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_path_that_holds_nothing_is_told(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no such file or folder|found none"):
        lossbench.load(name)


def test_no_rows_give_an_empty_frame_with_every_column():
    assert list(tidy([]).columns) == list(COLUMNS)
    assert str(tidy([]).made.dtype) == "datetime64[ns, UTC]"


def test_the_kept_results_load():
    folder = ROOT / "results" / "2-core-epyc" / "speeds"
    frame = lossbench.load(folder)
    assert len(frame) == len((folder / RECORDS).read_text().splitlines())
    timed = frame[frame.status == "passed"]
    assert (timed.step_seconds > 0).all()
    assert (timed.limit_seconds > 0).all()
    assert not frame.duplicated(["run", *CASE_COLUMNS, "variant"]).any()


def test_a_long_run_is_read_record_by_record(tmp_path):
    folder = save_run(tmp_path / "run", ALL[:1])
    with (folder / RECORDS).open("a") as file:
        file.write("nonsense\n")
    assert next(each_record(folder)) == ALL[0]


def test_a_count_beyond_the_columns_integers_is_named():
    with pytest.raises(UsageError, match="column saved_bytes: expected Int64"):
        tidy([{"saved_bytes": 2**64}])
