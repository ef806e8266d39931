"""The page of a report is complete in one file, and a browser shows it."""

import json
import re

import pandas as pd
import pytest

import lossbench
from lossbench.bench.metrics import SHOWN
from lossbench.bench.paths import ROOT
from lossbench.bench.report import answers, gallery, write_report
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
    inner = {address[1:] for address in found.addresses if address.startswith("#")}
    # An address with an equals sign is that of an answer.
    assert {name for name in inner if "=" not in name} <= set(found.ids)


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


def test_all_cells_are_in_the_file_beside_it(site, runs):
    assert len(pd.read_csv(site / "cells.csv")) == len(lossbench.load(*runs))


def test_large_reports_are_capped_and_say_so(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MOST_ROWS", 10)
    monkeypatch.setattr(gallery, "MOST_PLOTS", 6)
    monkeypatch.setattr(answers, "MOST_ANSWERS", 2)
    page = write_report(runs, tmp_path)
    assert "10 of 42 cells, some of each loss" in page.read_text()
    assert "4 more sizes are in <code>cells.csv</code>" in page.read_text()
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
    assert page.inner_text("#use") == "fused"
    assert console_errors == []


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_the_first_screen_has_the_answer_with_its_three_figures_and_its_certainty(page, site, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto((site / "index.html").as_uri())
    for part in ("#picker", "#use", "#figures", "#sure", "#also"):
        box = page.locator(part).bounding_box()
        assert box["y"] + box["height"] <= size[1], part
    assert page.locator("#source").get_attribute("open") is None
    values = page.locator("#figures dd").all_inner_texts()
    assert values[0] == "2.0× as fast"
    assert len(values) == 3
    assert page.inner_text("#sure").startswith("clear: vectorized takes 1.6x")
    assert page.inner_text("#also").startswith("with --compiled: vectorized+compile, ")


def test_the_address_holds_the_choice_and_a_size_without_records_names_the_nearest(
    page, console_errors, site
):
    page.goto((site / "index.html").as_uri() + "#loss=center&batch=256")
    assert page.input_value("[name=loss]") == "center"
    assert page.input_value("[name=size]") == "256×8, C=10"
    assert page.is_hidden("#far")
    page.select_option("[name=loss]", "arcface")
    assert "loss=arcface" in page.url
    assert "batch=256" in page.url
    page.goto((site / "index.html").as_uri() + "#loss=center&batch=300")
    page.wait_for_selector("#far:visible")
    assert "lossbench choose center --batch 300" in page.inner_text("#far")
    page.reload()
    assert page.input_value("[name=loss]") == "center"
    assert console_errors == []


def test_the_plots_are_drawn_when_seen_with_values_a_legend_and_a_zoom(page, console_errors, site):
    page.set_viewport_size({"width": 1280, "height": 500})
    page.goto((site / "index.html").as_uri() + "#loss=center&batch=64")
    assert page.locator(".uplot").count() == 0
    page.locator("#plots").scroll_into_view_if_needed()
    page.wait_for_selector(".uplot canvas")
    first = page.locator(".uplot").first
    area = first.locator(".u-over")
    size = area.bounding_box()
    # Unlike a move of the mouse, it waits until the plots have their places.
    area.hover(position={"x": 0.2 * size["width"], "y": size["height"] / 2})
    fused = first.locator(".u-series", has_text="fused").first
    fused.locator(".u-value", has_text="500 µs").wait_for()
    fused.locator("th").click()
    assert "u-off" in fused.get_attribute("class")
    assert page.locator("#plots figure").count() >= 4
    assert console_errors == []


@pytest.mark.parametrize("width", [700, 1280])
def test_the_bar_covers_no_heading_that_a_link_leads_to(page, site, width):
    page.set_viewport_size({"width": width, "height": 500})
    page.goto((site / "index.html").as_uri())
    for link in page.locator("nav .links a").all():
        name = link.get_attribute("href")
        link.click()
        page.wait_for_timeout(50)
        top = page.locator(f"{name} h2").first.bounding_box()["y"]
        bar = page.locator("nav").bounding_box()
        covered = bar["y"] < top + 1 < bar["y"] + bar["height"]
        assert not covered, name


def test_a_wide_table_scrolls_within_itself_and_keeps_its_first_column(page, site):
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto((site / "index.html").as_uri())
    frame = page.locator("#cells .scroll").first
    frame.scroll_into_view_if_needed()
    cell = frame.locator("tbody th").first
    before = cell.bounding_box()["x"]
    assert frame.evaluate("f => (f.scrollLeft = 400, f.scrollLeft)") > 300
    assert cell.bounding_box()["x"] == pytest.approx(before, abs=1)


def test_the_filters_leave_what_they_name(page, console_errors, site):
    page.goto((site / "index.html").as_uri())
    everything = visible(page, "#cells tbody tr")
    page.select_option("[data-filter=loss]", "center")
    rows = page.locator("#cells tbody tr:visible")
    assert {rows.nth(i).get_attribute("data-loss") for i in range(rows.count())} == {"center"}
    assert 0 < rows.count() < everything
    assert f"{rows.count()} of {everything}" in page.text_content("#cells output")
    page.select_option(
        "[data-filter=run]", page.locator("[data-filter=run] option").nth(1).inner_text()
    )
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


def many_records(folder, count):
    """Write records of every cell of a run with many seeds."""
    lines = (ROOT / "results" / "2-core-epyc" / "full" / RECORDS).read_text().splitlines()
    with (folder / RECORDS).open("w") as file:
        for number in range(count):
            line = json.loads(lines[number % len(lines)])
            line["case"]["seed"] = number // len(lines)
            file.write(json.dumps(line) + "\n")


@pytest.mark.slow
def test_a_hundred_thousand_records_make_a_page_that_a_browser_can_show(tmp_path, page):
    many_records(tmp_path, 100_000)
    report = write_report([tmp_path], tmp_path / "report")
    # What a browser has to parse decides how long the page takes to open.
    assert report.stat().st_size < 6e6
    assert report.read_text().count("<td") < 100_000
    assert len(list((tmp_path / "report" / "plots").glob("*.svg"))) <= gallery.MOST_PLOTS + 1
    # Plots are drawn when they come into view, which they are from the start on a high screen.
    page.set_viewport_size({"width": 1280, "height": 400})
    page.goto(report.as_uri())
    assert page.locator("#use").inner_text()
    assert page.locator(".uplot").count() == 0
    page.locator("#plots").scroll_into_view_if_needed()
    page.locator(".uplot").first.wait_for(timeout=20_000)
