"""The command ``report``: its default runs and folder; it writes a whole page or none."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from lossbench.bench.cli import main
from lossbench.bench.errors import UsageError
from lossbench.bench.paths import ROOT
from lossbench.bench.report import data, write_report
from lossbench.bench.report.readme import columns_part, renew, renewed
from lossbench.bench.run.records import RECORDS
from tests.makers.records import ENVIRONMENT, record
from tests.makers.reports import cells, cells_of
from tests.makers.runs import save_run


def test_a_report_of_runs_without_any_times_is_a_report(tmp_path):
    lost = record(status="oom", agreement=(), step=None, forward=None, memory=None)
    run = save_run(tmp_path, [lost])
    assert "oom" in write_report([run], tmp_path / "report").read_text()


def test_ctrl_c_leaves_the_report_that_was_there(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("lossbench.bench.report.write.draw", lambda _: [])
    before = write_report(runs[:1], tmp_path).read_text()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lossbench.bench.report.write.render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(runs, tmp_path)
    assert (tmp_path / "index.html").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.csv", "index.html", "plots"]


def test_plots_that_a_worker_draws_are_those_of_this_process(runs, tmp_path, monkeypatch):
    write_report(runs[:1], tmp_path / "here")
    monkeypatch.setattr("lossbench.bench.report.write.MANY_ROWS", 0)
    write_report(runs[:1], tmp_path / "there")
    here, there = (sorted((tmp_path / name / "plots").iterdir()) for name in ("here", "there"))
    assert [path.name for path in here] == [path.name for path in there] != []
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(here, there, strict=True))


def test_a_worker_that_cannot_draw_is_told_and_writes_no_report(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("lossbench.bench.report.write.MANY_ROWS", 0)
    monkeypatch.setattr("lossbench.bench.report.write.draw", json.loads)
    with pytest.raises(UsageError, match="the plots could not be drawn: "):
        write_report(runs[:1], tmp_path / "report")
    assert not list((tmp_path / "report").iterdir())


def test_a_page_of_others_is_not_written_over(runs, tmp_path, capsys):
    (tmp_path / "index.html").write_text("mine")
    assert main(["report", str(runs[0]), "--out", str(tmp_path)]) == 2
    assert "holds index.html, which no report wrote; choose another" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"


def test_runs_that_hold_nothing_or_another_schema_are_told(runs, tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "expected a run" in capsys.readouterr().err
    (tmp_path / RECORDS).touch()
    assert main(["report", str(tmp_path)]) == 2
    assert "expected records; there are none yet" in capsys.readouterr().err
    line = json.loads((runs[0] / RECORDS).read_text().splitlines()[0])
    (tmp_path / RECORDS).write_text(json.dumps({**line, "schema": 99}) + "\n")
    assert main(["report", str(tmp_path)]) == 2
    assert "schema 99; this version reads" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_by_default_the_latest_own_run_is_shown_else_the_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "RUNS", tmp_path)
    assert ROOT / "results" / "2-core-epyc" / "full" in data.default_runs()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / RECORDS).touch()
    assert data.default_runs() == [tmp_path / "mine"]


def test_a_run_of_two_machines_is_shown_as_two(tmp_path):
    save_run(tmp_path, [each for name in ("a", "b") for each in cells_of(name)])
    evidence = data.load_evidence([tmp_path])
    name = "/".join(tmp_path.parts[-2:])
    assert evidence.labels == [f"{name} on a", f"{name} on b"]
    assert set(evidence.environments) == set(evidence.conformance) == set(evidence.labels)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", ROOT / "results" / "README.md"], ids=["ours", "results"]
)
def test_the_committed_winners_are_those_of_the_committed_records(path):
    text, pictures = renewed(path)
    assert text == path.read_text()
    for picture, drawn in pictures.items():
        assert drawn == picture.read_text(), picture


def test_the_readme_explains_every_column():
    assert columns_part() in (ROOT / "README.md").read_text()


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
    path.write_text(f"{first}<!-- columns -->\nold\n<!-- end of columns -->\nlast\n")
    renew(path)
    assert path.read_text() == f"{first}{columns_part()}last\n"


def test_the_winners_of_one_size_of_a_run(runs, tmp_path, capsys):
    path = tmp_path / "README.md"
    path.write_text("<!-- winners: none -->\n<!-- end of winners -->\n")
    renew(path, (runs[0],))
    every = [line for line in path.read_text().splitlines() if line.startswith("| ")][2:]
    kept = [line for line in every if "| 64×8, C=10, " in line]
    assert 0 < len(kept) < len(every)
    renew(path, (runs[0].with_name(f"{runs[0].name}@64x8x10"),))
    assert [line for line in path.read_text().splitlines() if line.startswith("| ")][2:] == kept
    assert renewed(path) == (path.read_text(), {})
    for size, message in (("@64x8", "expected batch, dim and classes"), ("@1x2x3", "no case of")):
        assert main(["report", "--readme", str(path), f"{runs[0]}{size}"]) == 2
        assert message in capsys.readouterr().err


def test_the_answers_of_a_run_are_a_table_a_picture_and_a_text(runs, tmp_path, capsys):
    path = tmp_path / "README.md"
    run = runs[0]
    path.write_text(
        f"<!-- answers: {run}@64x8x10 -->\n<!-- end of answers -->\n"
        f"<!-- picture: {run}@64x8x10 answers.svg https://here/answers.svg -->\n"
        "<!-- end of picture -->\n"
        f"<!-- choose: {run} center 64x8x10 -->\n<!-- end of choose -->\n"
    )
    assert main(["report", "--readme", str(path)]) == 0
    text = path.read_text()
    assert "| center | `fused` | 2x [" in text
    assert "`vectorized+compile` 1.2x, with --compiled |" in text
    assert "](https://here/answers.svg)" in text
    assert "$ lossbench choose center --batch 64 --dim 8 --classes 10\nuse fused: 2.0x" in text
    root = ET.parse(tmp_path / "answers.svg").getroot()
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "fused 2.0×" in words
    bars = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    rings = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(bars) == len(rings) == 2
    # The ring lies beyond the bar's end, at the speed of the compiled variant.
    end = float(bars[0].get("x")) + float(bars[0].get("width"))
    assert float(rings[0].get("cx")) > end
    path.write_text(f"<!-- answers: {run}@1x1x1 -->\n<!-- end of answers -->\n")
    assert main(["report", "--readme", str(path)]) == 2
    assert "no record in float32 at 1x1x1" in capsys.readouterr().err


DIRTY = replace(ENVIRONMENT, dirty=True)


def test_uncommitted_code_and_former_compile_times_are_marked_on_the_page(tmp_path):
    run = save_run(tmp_path / "run", cells(environment=DIRTY))
    text = write_report([run], tmp_path / "report").read_text()
    assert ">fused*</td>" in text
    assert "6 s~</td>" in text
    assert "* measured with uncommitted changes" in text
    assert "~ compile time measured in a process that had compiled before" in text
    assert '"use":"fused*"' in text
    plots = [path.read_text() for path in (tmp_path / "report" / "plots").glob("*.svg")]
    assert plots
    assert all("fused*" in plot or "×*" in plot for plot in plots)


def test_a_winner_of_uncommitted_code_is_marked_where_winners_are_renewed(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("<!-- winners: none -->\n<!-- end of winners -->\n")
    renew(path, (save_run(tmp_path / "dirty", cells(environment=DIRTY)),))
    assert "| `vectorized+compile*` | 2.5x" in path.read_text()
    assert "`*` measured with uncommitted changes" in path.read_text()
    renew(path, (save_run(tmp_path / "clean", cells()),))
    assert "*" not in path.read_text()


def test_of_a_cell_that_a_run_has_twice_the_clean_record_is_shown(tmp_path):
    again = [*cells(), *cells(environment=DIRTY)]
    path = tmp_path / "README.md"
    path.write_text("<!-- winners: none -->\n<!-- end of winners -->\n")
    renew(path, (save_run(tmp_path / "run", again),))
    assert "*" not in path.read_text()
