"""The board shows what ``choose`` answers, from runs and bundles, in a folder of small pages."""

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from lossbench.bench.board.rows import standings_of
from lossbench.bench.board.sources import load_board
from lossbench.bench.board.write import write_board
from lossbench.bench.choose.answer import answer
from lossbench.bench.choose.request import Request
from lossbench.bench.choose.text import alternative_line, answer_text
from lossbench.bench.cli import main
from lossbench.bench.errors import UsageError
from lossbench.bench.measure.ceilings import Ceilings
from lossbench.bench.metrics import SHOWN
from lossbench.bench.paths import ROOT
from tests.makers.pages import outline
from tests.makers.records import ENVIRONMENT
from tests.makers.submissions import CASE, FACTORS, bundle_of, members_of, pack, possible, times

SHIPPED = ROOT / "results" / "2-core-epyc" / "contenders"
# A page of this size opens in a fraction of a second.
MOST_BYTES_A_ROW, MOST_BYTES_A_PAGE = 1000, 10_000
MARKUP = "<b>Ada & Co</b>"
THERE = replace(ENVIRONMENT, machine="there", cpu="another processor", commit="c" * 40)


@pytest.fixture(scope="module")
def shipped():
    return standings_of(load_board([SHIPPED]))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder with bundles of two machines, in which another variant wins."""
    folder = tmp_path_factory.mktemp("submissions")
    factors = {"vectorized": 0.3, "fused": 0.9}
    there = [possible(v, factor=factors.get(v), environment=THERE) for v in FACTORS]
    for name, records, by in (("here", None, MARKUP), ("there", there, "Bo")):
        (folder / name).mkdir()
        bundle_of(folder / name, records, by)
    return folder


@pytest.fixture(scope="module")
def board(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("board") / "site"
    write_board(standings_of(load_board(sorted(sources.glob("*/*.zip")))), folder)
    return folder


def rows(folder):
    return list(csv.DictReader(io.StringIO((folder / "board.csv").read_text())))


def printed(found):
    console = Console(file=io.StringIO(), width=200)
    console.print(answer_text(found))
    return console.file.getvalue()


def test_every_row_is_the_answer_of_choose(shipped, tmp_path):
    assert len(shipped.rows) == len(shipped.losses) == 20
    write_board(shipped, tmp_path)
    index = (tmp_path / "index.html").read_text()
    # A whole answer takes half a second, since it looks for what would change it.
    for row in shipped.rows[::4]:
        found = answer([row.pool], Request(row.case))
        assert (found.best, found.verdict) == (row.best, row.ranking.verdict)
        assert [*map(alternative_line, found.alternatives)] == [*map(alternative_line, row.others)]
        decision = printed(found).splitlines()[0]
        seconds, peak = decision.removesuffix(" peak").split(", ")[-2:]
        seconds = seconds.rpartition(": ")[2].removesuffix(" a step")
        assert f">{seconds}</td>" in index
        assert f">{peak}</td>" in index


def test_the_cells_of_a_loss_have_the_figures_of_every_table(shipped, tmp_path):
    write_board(shipped, tmp_path)
    page = (tmp_path / "arcface.html").read_text()
    assert all(f"<th>{metric.heading}</th>" in page for metric in SHOWN)
    assert page.count(" ★</th>") == 1
    assert "‡ timed without the checks of inputs" in page


def test_pages_are_small_well_formed_and_link_to_each_other(shipped, tmp_path):
    write_board(shipped, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"index.html", "arcface.html", "style.css", "script.js", "board.csv"} <= names
    for path in tmp_path.glob("*.html"):
        found = outline(path)
        assert found.open == []
        assert len(found.ids) == len(set(found.ids))
        here = {f"#{name}" for name in found.ids}
        assert set(found.addresses) <= names | here, path.name
        lines = found.tags.count("tr")
        assert path.stat().st_size < MOST_BYTES_A_PAGE + MOST_BYTES_A_ROW * lines


def test_a_row_says_who_measured_where_when_and_at_which_commit(board):
    found = {(row["machine"], row["batch"]): row for row in rows(board)}
    assert set(found) == {("here", "64"), ("here", "128"), ("there", "64")}
    there = found["there", "64"]
    told = (there["variant"], there["by"], there["date"], there["commit"])
    assert told == ("vectorized", "Bo", "2026-01-02", "ccccccc")
    assert found["here", "64"]["variant"] == "fused"
    assert found["here", "64"]["by"] == MARKUP
    index = (board / "index.html").read_text()
    assert "&lt;b&gt;Ada &amp; Co&lt;/b&gt;" in index
    assert MARKUP not in index


def test_machines_of_one_name_are_told_apart(tmp_path):
    for torch in ("2.13.0", "2.14.0"):
        (tmp_path / torch).mkdir()
        environment = replace(ENVIRONMENT, torch=torch)
        bundle_of(tmp_path / torch, [possible(v, environment=environment) for v in FACTORS])
    standings = standings_of(load_board(sorted(tmp_path.glob("*/*.zip"))))
    label = f"here, {ENVIRONMENT.threads} threads, torch"
    assert list(standings.labels.values()) == [f"{label} 2.13.0", f"{label} 2.14.0"]


def test_records_of_one_machine_are_merged_by_their_quality(tmp_path):
    noisy = {"step": times(0.01), "forward": times(0.01), "made": "2026-02-01T00:00:00+00:00"}
    renamed = replace(ENVIRONMENT, machine="alias", dirty=True)
    worse = [possible(v, environment=renamed, **noisy) for v in ("fused", "vectorized")]
    for name, records in (("good", None), ("bad", worse)):
        (tmp_path / name).mkdir()
        bundle_of(tmp_path / name, records)
    standings = standings_of(load_board([tmp_path]))
    (row,) = [row for row in standings.rows if row.case == CASE]
    assert row.best.variant == "fused"
    assert row.record.environment == ENVIRONMENT
    # Each bundle lies beside the run that it was made of.
    assert row.pool.passed_over["of uncommitted code"] == 4


def test_a_bundle_that_was_changed_is_left_out_and_the_others_are_shown(tmp_path, capsys):
    good = bundle_of(tmp_path)
    changed = members_of(good) | {"plan.json": b"{}"}
    bad = pack(tmp_path / "bad.bundle.zip", changed.items())
    assert main(["board", str(good), str(bad), "--out", str(tmp_path / "site")]) == 0
    out, errors = capsys.readouterr()
    assert out == f"{tmp_path}/site/index.html: 2 sizes of 1 losses, from 6 records\n"
    assert errors.startswith(f"warning: left out: {bad}: plan.json was changed")
    assert "plan.json was changed" in (tmp_path / "site" / "index.html").read_text()


def test_a_bundle_that_cannot_be_true_is_left_out(tmp_path):
    good = bundle_of(tmp_path)
    (tmp_path / "bad").mkdir()
    bad = bundle_of(tmp_path / "bad", [possible("fused", ceilings=Ceilings({}, 0.0, {}))])
    found = load_board([good, bad])
    assert len(found.records) == 6
    (reason,) = found.left_out
    assert reason.startswith(
        f"{bad}: arcface fused, 64x8, C=10, cpu, gaussian: its machine's rates"
    )


def test_a_newer_board_replaces_the_pages_of_an_older_one(board, tmp_path):
    old = tmp_path / "old.html"
    old.write_text((board / "arcface.html").read_text())
    write_board(standings_of(load_board([SHIPPED])), tmp_path)
    assert not old.exists()
    assert not list(tmp_path.glob(".half-*"))


def test_pages_of_something_else_stay(shipped, tmp_path):
    other = tmp_path / "index.html"
    other.write_text("mine")
    with pytest.raises(UsageError, match="was not written by a board"):
        write_board(shipped, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere", "--out", "/tmp/x"], "/nowhere: expected a run, a file *.bundle.zip, or a"),
        (["results", "--out", "/proc/x"], "expected a folder to write to"),
        (["results"], "Missing option '--out'"),
    ],
)
def test_what_cannot_be_shown_is_told(arguments, message, refused, monkeypatch):
    monkeypatch.chdir(SHIPPED.parent)
    given = ["contenders" if each == "results" else each for each in arguments]
    assert message in refused("board", *given)


def test_a_browser_opens_the_board_from_the_disk_and_filters_it(board, page, console_errors):
    page.goto((board / "index.html").as_uri())
    shown = "#standings tbody tr:not([hidden])"
    assert page.locator(shown).count() == 3
    page.select_option("select[data-filter=machine]", "there")
    assert page.locator(shown).count() == 1
    page.locator(f"{shown} a").click()
    assert page.title() == "arcface: lossbench board"
    assert page.locator("#standings tbody tr").count() == 3
    assert console_errors == []
