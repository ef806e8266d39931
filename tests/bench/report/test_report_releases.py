"""A report shows releases of torch beside each other, by the speed-ups within each release."""

from dataclasses import replace

from lossbench.bench.frame import tidy
from lossbench.bench.frame.runs import record_row
from lossbench.bench.report import write_report
from lossbench.bench.report.order import ordered
from lossbench.bench.report.releases import releases_of
from tests.makers.records import ENVIRONMENT
from tests.makers.reports import cell
from tests.makers.runs import save_run


def of_torch(version, fused, vectorized):
    """Return the records of a run with a version of torch, by the factors of two variants."""
    environment = replace(ENVIRONMENT, torch=version)
    factors = {"reference": 1, "fused": fused, "vectorized": vectorized}
    return [cell("center", name, f, environment=environment) for name, f in factors.items()]


def frame_of(**runs):
    rows = [{"run": run, **record_row(each)} for run, records in runs.items() for each in records]
    return ordered(tidy(rows))


def test_the_fastest_variants_of_two_releases_stand_in_one_row():
    frame = frame_of(old=of_torch("2.11.0", 0.5, 0.8), new=of_torch("2.13.0+cpu", 0.5, 0.25))
    found = releases_of(frame)
    assert found.names == ("2.11", "2.13")
    (row,) = found.rows
    assert [each["variant"] for each in row["cells"]] == ["fused", "vectorized"]
    assert [round(each["step_speedup"]) for each in row["cells"]] == [2, 4]
    assert row["changed"]
    assert row["where"]["loss"] == "center"


def test_the_same_winner_has_not_changed_and_one_release_has_no_row():
    same = frame_of(old=of_torch("2.11.0", 0.5, 0.8), new=of_torch("2.12.1", 0.4, 0.8))
    assert not releases_of(same).rows[0]["changed"]
    patches = frame_of(old=of_torch("2.11.0", 0.5, 0.8), new=of_torch("2.11.1", 0.4, 0.8))
    assert releases_of(patches) is None


def test_the_page_has_both_tables(tmp_path):
    runs = [
        save_run(tmp_path / name, of_torch(torch, 0.5, factor))
        for name, torch, factor in (("old", "2.11.0", 0.8), ("new", "2.13.0", 0.25))
    ]
    page = write_report(runs, tmp_path / "report").read_text()
    assert 'id="releases"' in page
    assert ": differs</td>" in page
    assert 'id="compat"' in page
