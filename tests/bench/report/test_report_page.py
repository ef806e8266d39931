"""The page of a report is complete in one file, and a browser shows it."""

import json
import re

import pandas as pd
import pytest

import lossbench
from lossbench.bench.metrics import SHOWN
from lossbench.bench.paths import ROOT
from lossbench.bench.report import gallery, write_report
from lossbench.bench.report import page as pages
from lossbench.bench.run.records import RECORDS
from tests.makers.pages import outline


def test_the_page_is_well_formed_and_whole_in_itself(site):
    found = outline(site / "index.html")
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
    # Two overviews; for two losses in two runs plots of batch, classes, and time against memory.
    assert len(stems) == 2 + 2 * 2 * 3
    for path in plots:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            drawn = path.read_text()
            assert "currentColor" in drawn
            assert "prefers-color-scheme:dark" in drawn
    addresses = outline(site / "index.html").addresses
    embedded = [address for address in addresses if address.startswith("data:image/svg+xml")]
    assert len(embedded) == len(stems) - 2


def test_all_cells_are_in_the_file_beside_it(site, runs):
    assert len(pd.read_csv(site / "cells.csv")) == len(lossbench.load(*runs))


def test_large_reports_are_capped_and_say_so(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MOST_ROWS", 10)
    monkeypatch.setattr(gallery, "MOST_PLOTS", 6)
    page = write_report(runs, tmp_path)
    assert "10 of 42 cells, some of each loss" in page.read_text()
    assert len(list((tmp_path / "plots").glob("*.svg"))) == 2 + 6


def test_the_legend_explains_every_column_of_the_cells(site):
    text = (site / "index.html").read_text()
    table = text.split("One row per variant and case")[1].split("</thead>")[0]
    headings = re.findall("<th>(.+?)</th>", table)
    terms = re.findall("<dt>(.+?)</dt>", text.split('id="legend"')[1])
    assert headings[-len(SHOWN) :] == [metric.heading for metric in SHOWN]
    assert terms[: len(SHOWN)] == headings[-len(SHOWN) :]


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
    lines = (ROOT / "results" / "2-core-epyc" / "full" / RECORDS).read_text().splitlines()
    with (tmp_path / RECORDS).open("w") as file:
        for number in range(100_000):
            line = json.loads(lines[number % len(lines)])
            line["case"]["seed"] = number // len(lines)
            file.write(json.dumps(line) + "\n")
    page = write_report([tmp_path], tmp_path / "report")
    assert page.stat().st_size < 15e6
    assert len(list((tmp_path / "report" / "plots").glob("*.svg"))) <= gallery.MOST_PLOTS + 1
