"""The page of a report, what it says, and that it is whole or not there at all."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import bench
from bench.cases import Case
from bench.cli import main
from bench.compilation import Compilation
from bench.conformance import Conformance
from bench.environment import ROOT
from bench.records import RECORDS, record_file
from bench.report import data, findings, gallery, legend, write_report
from bench.report import page as pages
from bench.report.order import ordered
from bench.report.readme import renew, renewed
from bench.timing import Samples, Timing
from tests.test_records import BAD, ENVIRONMENT, record

VOID = {"meta", "img", "br", "wbr", "link"}


def cell(loss, variant, factor, batch=64, classes=10, **changes):
    """Return a record of a variant that takes a factor of the reference's time, give or take 1%."""
    noisy = tuple(1e-3 * factor * (1 + 0.01 * (-1) ** i) for i in range(40))
    timing = Timing((Samples(noisy, (1e-3,) * 40, 1),))
    case = Case(loss, batch, 8, classes)
    return record(case=case, variant=variant, step=timing, forward=timing, **changes)


def cells(**changes):
    """Return the records of two losses over some sizes, one variant compiled, one refused."""
    compilation = Compilation(6.0, 1, 0, cached=False, sweep=(3, 2, 8), recompiles=1)
    input_ = Conformance("all zero", "not finite: out.loss", "finite", "better", "out.loss")
    refused = {"status": "refused", "agreement": (BAD,), "step": None, "forward": None}
    for loss in ("arcface", "center"):
        for batch, classes in ((64, 10), (256, 10), (64, 100)):
            yield cell(loss, "reference", 1, batch, classes, **changes)
            yield cell(loss, "fused", 0.5, batch, classes, conformance=(input_,), **changes)
            yield cell(loss, "vectorized", 0.8, batch, classes, **changes)
        yield cell(loss, "vectorized+compile", 0.4, compilation=compilation, **changes)
    yield replace(cell("arcface", "pml", 1, **changes), reason="<b> & co", **refused)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the same cells, of two machines."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("here", "elsewhere"):
        (folder / name).mkdir()
        with record_file(folder / name) as file:
            for each in cells(environment=replace(ENVIRONMENT, machine=name)):
                file.append(each)
    return [folder / "here", folder / "elsewhere"]


@pytest.fixture(scope="module")
def site(runs, tmp_path_factory):
    """The folder of a report of both."""
    return write_report(runs, tmp_path_factory.mktemp("site") / "report").parent


class Outline(HTMLParser):
    """What a page is made of; raises where a tag is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.tags, self.addresses = [], [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[name] for name in ("src", "href") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(site):
    parser = Outline()
    parser.feed((site / "index.html").read_text())
    return parser


def test_the_page_is_well_formed_and_whole_in_itself(site):
    found = outline(site)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert found.tags.count("table") == found.tags.count("caption") > 5
    assert {"title", "h1", "h2"} <= set(found.tags)
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    assert {address[1:] for address in found.addresses if address.startswith("#")} <= set(found.ids)


def test_what_a_record_says_is_text_and_not_markup(site):
    text = (site / "index.html").read_text()
    assert "&lt;b&gt; &amp; co" in text
    assert "<b> & co" not in text


def test_every_plot_lies_beside_the_page_for_light_and_dark(site):
    plots = sorted((site / "plots").iterdir())
    stems = {path.stem for path in plots}
    assert len(plots) == 2 * len(stems)
    # Two overviews, and for two losses in two runs batch, classes, and time against memory.
    assert len(stems) == 2 + 2 * 2 * 3
    for path in plots:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            drawn = path.read_text()
            assert "currentColor" in drawn
            assert "prefers-color-scheme:dark" in drawn
    embedded = [a for a in outline(site).addresses if a.startswith("data:image/svg+xml")]
    assert len(embedded) == len(stems) - 2


def test_all_cells_are_in_the_file_beside_it(site, runs):
    import pandas as pd

    assert len(pd.read_csv(site / "cells.csv")) == len(bench.load(*runs))


def test_the_winner_stands_beside_its_rivals_the_eager_and_the_leanest():
    lean = replace(record().memory, forward_peak_bytes=0, backward_peak_bytes=0)
    extra = [cell("center", "sparse", 0.405, memory=lean)]
    won = findings.winners(frame_of(*cells(), *extra)).set_index(["loss", "batch", "classes"])
    small = won.loc["center", 64, 10]
    assert small["variant"] == "vectorized+compile"
    assert small["rivals"] == "sparse"
    assert small["eager"] == small["leanest"] == "sparse"
    assert won.loc["arcface", 256, 10]["variant"] == "fused"
    assert won.loc["arcface", 256, 10]["rivals"] == ""


def row(record):
    return {"run": "here", **bench.frame.runs.record_row(record)}


def frame_of(*records):
    return ordered(bench.frame.tidy([row(each) for each in records]))


def test_the_reference_wins_where_nothing_is_faster():
    (won,) = findings.winners(
        frame_of(cell("center", "reference", 1), cell("center", "fused", 1.5))
    ).to_dict("records")
    assert (won["variant"], won["step_speedup"], won["rivals"]) == ("reference", 1, "")


def test_compiling_has_paid_against_the_fastest_eager_variant():
    paid = findings.break_even(frame_of(*cells())).set_index("loss")
    assert paid.loc["center", "eager"] == "fused"
    # 6 s of compiling, and 0.5 ms against 0.4 ms a step.
    assert paid.loc["center", "steps"] == pytest.approx(60_000, rel=0.05)
    slow = [cell("center", "fused", 0.1), *(c for c in cells() if "+" in c.variant)]
    assert findings.break_even(frame_of(*slow)).iloc[-1]["steps"] == float("inf")


def test_a_front_holds_what_nothing_else_beats_in_both():
    import pandas as pd

    points = {"step_seconds": [1, 2, 3, 2, 4], "step_peak_bytes": [9, 5, 7, 6, 1]}
    found = findings.front(pd.DataFrame(points))
    assert list(zip(found["step_seconds"], found["step_peak_bytes"], strict=True)) == [
        (1, 9), (2, 5), (4, 1),
    ]  # fmt: skip


def test_a_curve_has_the_sizes_that_differ_in_one_axis_alone():
    rows = frame_of(*(each for each in cells() if each.case.loss == "center"))
    along = findings.growth(rows, "batch")
    assert set(along["batch"]) == {64, 256}
    assert set(along["classes"]) == {10}
    assert set(findings.growth(rows, "classes")["batch"]) == {64}


def test_agreement_tells_the_worst_and_how_often():
    refused = {"status": "refused", "agreement": (BAD,), "step": None, "forward": None}
    bad = replace(cell("arcface", "pml", 1), **refused)
    found = findings.agreement(frame_of(cell("arcface", "pml", 1, batch=256), bad))
    (worst,) = found.to_dict("records")
    assert (worst["cells"], worst["passed"], worst["error"]) == (2, 1, float("inf"))


def test_a_report_of_runs_without_any_times_is_a_report(tmp_path):
    with record_file(tmp_path) as file:
        file.append(record(status="oom", agreement=(), step=None, forward=None, memory=None))
    assert "oom" in write_report([tmp_path], tmp_path / "report").read_text()


def test_large_reports_are_capped_and_say_so(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MOST_ROWS", 10)
    monkeypatch.setattr(gallery, "MOST_PLOTS", 6)
    page = write_report(runs, tmp_path)
    assert "10 of 42 cells, some of each loss" in page.read_text()
    assert len(list((tmp_path / "plots").glob("*.svg"))) == 2 + 6


def test_ctrl_c_leaves_the_report_that_was_there(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.report.write.draw", lambda _: [])
    before = write_report(runs[:1], tmp_path).read_text()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.report.write.render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(runs, tmp_path)
    assert (tmp_path / "index.html").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.csv", "index.html", "plots"]


def test_a_page_of_others_is_not_written_over(runs, tmp_path, capsys):
    (tmp_path / "index.html").write_text("mine")
    assert main(["report", str(runs[0]), "--out", str(tmp_path)]) == 2
    assert "holds index.html, of no report; choose another --out" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"


def test_runs_that_hold_nothing_or_another_schema_are_told(runs, tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "expected a run" in capsys.readouterr().err
    (tmp_path / RECORDS).touch()
    assert main(["report", str(tmp_path)]) == 2
    assert "expected records; there are none yet" in capsys.readouterr().err
    line = json.loads((runs[0] / RECORDS).read_text().splitlines()[0])
    (tmp_path / RECORDS).write_text(json.dumps({**line, "schema": 1}) + "\n")
    assert main(["report", str(tmp_path)]) == 2
    assert "schema 1; this version reads" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_by_default_the_latest_own_run_is_shown_else_the_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "RUNS", tmp_path)
    assert ROOT / "results" / "2-core-epyc" / "full" in data.default_runs()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / RECORDS).touch()
    assert data.default_runs() == [tmp_path / "mine"]


def test_a_run_of_two_machines_is_shown_as_two(tmp_path):
    with record_file(tmp_path) as file:
        for name in ("a", "b"):
            for each in cells(environment=replace(ENVIRONMENT, machine=name)):
                file.append(each)
    evidence = data.load_evidence([tmp_path])
    name = "/".join(tmp_path.parts[-2:])
    assert evidence.labels == [f"{name} on a", f"{name} on b"]
    assert set(evidence.environments) == set(evidence.conformance) == set(evidence.labels)


def test_the_legend_has_the_words_of_the_readme():
    section = (ROOT / "README.md").read_text().split("## What the columns say")[1]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section.split("## ")[0], re.MULTILINE)
    assert dict(rows[2:]) == legend.COLUMNS


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", ROOT / "results" / "README.md"], ids=["ours", "results"]
)
def test_the_committed_winners_are_those_of_the_committed_records(path):
    assert renewed(path.read_text(), path.parent) == path.read_text()


def test_a_file_to_renew_needs_its_marks(runs, tmp_path, capsys):
    path = tmp_path / "README.md"
    assert main(["report", "--readme", str(path)]) == 2
    path.write_text("by hand\n")
    assert main(["report", "--readme", str(path)]) == 2
    assert "expected the lines <!-- winners: RUN ... -->" in capsys.readouterr().err
    path.write_text("by hand\n<!-- winners: none -->\nold\n<!-- end of winners -->\nmore\n")
    renew(path, (runs[0],))
    first = path.read_text()
    assert first.startswith("by hand\n<!-- winners: ")
    assert first.endswith("<!-- end of winners -->\nmore\n")
    assert "| center | 64×8, C=10, float32, cpu, gaussian | `vectorized+compile` | 2.5x" in first
    renew(path)
    assert path.read_text() == first


def visible(page, selector):
    return page.locator(f"{selector}:visible").count()


def test_the_page_opens_from_disk_without_a_complaint(page, console_errors, site):
    page.goto((site / "index.html").as_uri())
    loaded = "i.loading = 'eager', i.decode().then(() => i.naturalWidth)"
    widths = page.evaluate(f"Promise.all([...document.images].map(i => ({loaded})))")
    assert min(widths) > 100
    assert console_errors == []


def test_the_filters_leave_what_they_name(page, console_errors, site):
    page.goto((site / "index.html").as_uri())
    everything = visible(page, "#cells tbody tr")
    page.select_option("[data-filter=loss]", "center")
    rows = page.locator("#cells tbody tr:visible")
    assert {rows.nth(i).get_attribute("data-loss") for i in range(rows.count())} == {"center"}
    assert 0 < rows.count() < everything
    assert f"{rows.count()} of {everything}" in page.inner_text("#cells output")
    page.select_option(
        "[data-filter=run]", page.locator("[data-filter=run] option").nth(1).inner_text()
    )
    assert visible(page, "#losses figure") == 3
    page.click("button[type=reset]")
    page.wait_for_function("document.querySelector('[data-filter=loss]').value === ''")
    assert visible(page, "#cells tbody tr") == everything
    assert console_errors == []


def test_tables_sort_by_number_both_ways_with_what_is_empty_last(page, console_errors, site):
    page.goto((site / "index.html").as_uri())
    header = page.locator("#cells th", has_text="step").first
    column = header.evaluate("h => h.cellIndex")
    values = (
        "[...document.querySelectorAll('#cells tbody tr')]"
        f".map(r => r.cells[{column}].dataset.v ?? null)"
    )
    for direction, sign in (("ascending", 1), ("descending", -1)):
        header.locator("button").click()
        found = page.evaluate(values)
        assert header.get_attribute("aria-sort") == direction
        numbers = [float(v) for v in found if v is not None]
        assert numbers == sorted(numbers, reverse=sign < 0)
        assert found[-2:] == [None, None]
    assert console_errors == []


@pytest.mark.parametrize("width", [360, 1280])
def test_no_width_makes_the_page_itself_scroll_sideways(page, site, width):
    page.set_viewport_size({"width": width, "height": 740})
    page.goto((site / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_hundred_thousand_records_make_a_page_that_a_browser_can_show(tmp_path):
    lines = Path(ROOT, "results", "2-core-epyc", "full", RECORDS).read_text().splitlines()
    with (tmp_path / RECORDS).open("w") as file:
        for number in range(100_000):
            line = json.loads(lines[number % len(lines)])
            line["case"]["seed"] = number // len(lines)
            file.write(json.dumps(line) + "\n")
    page = write_report([tmp_path], tmp_path / "report")
    assert page.stat().st_size < 15e6
    assert len(list((tmp_path / "report" / "plots").glob("*.svg"))) <= gallery.MOST_PLOTS + 1
