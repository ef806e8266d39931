"""The table of a run has its figures, and warnings about disturbed times."""

import csv
import io
import json
import math
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from lossbench.bench.cli import main
from lossbench.bench.format import LEAST_WIDTH
from lossbench.bench.frame import COLUMNS
from lossbench.bench.machine.conditions import Conditions
from lossbench.bench.measure.ceilings import Ceilings, limit
from lossbench.bench.measure.compilation import Compilation, WarmCompilation
from lossbench.bench.measure.counters import Counters
from lossbench.bench.run.appending import record_file
from lossbench.bench.run.economics import best_eager, break_even_steps
from lossbench.bench.show.results import results_table, warnings
from lossbench.bench.timing.samples import Samples, Timing
from tests.makers.records import BAD, record
from tests.makers.runs import save_run

COMPILED = Compilation(6.0, 1, 0, cached=False, sweep=(3, 2, 8), recompiles=1)


def timed(variant, seconds, **changes):
    noisy = tuple(seconds * (1 + 0.001 * (-1) ** i) for i in range(40))
    samples = Samples(noisy, (1e-3,) * 40, 1, **changes)
    return replace(record(), variant=variant, step=Timing((samples,)))


def compiled(seconds):
    return replace(timed("vectorized+compile", seconds), compilation=COMPILED)


def text_of(records):
    console = Console(width=LEAST_WIDTH, file=StringIO())
    console.print(results_table(records))
    return console.file.getvalue()


def test_a_compiled_variant_has_paid_when_it_has_saved_what_it_cost():
    assert break_even_steps(6.0, 1e-3, 3e-3) == 3000
    assert break_even_steps(6.001, 1e-3, 3e-3) == 3001
    assert break_even_steps(6.0, 3e-3, 1e-3) == math.inf
    assert break_even_steps(0.0, 1e-3, 3e-3) == 0


def test_the_best_eager_variant_is_the_fastest_that_was_timed():
    lost = replace(record(), variant="fused", status="oom", agreement=(), step=None, forward=None)
    group = [compiled(1e-4), timed("vectorized", 1e-3), timed("reference", 2e-3), lost]
    assert best_eager(group).variant == "vectorized"
    assert best_eager([lost]) is None


def test_the_notes_tell_of_compiling_and_waiting():
    waiting = replace(timed("vectorized", 3e-3), counters=Counters(35, 2))
    cold = replace(COMPILED, start_seconds=1.5, fresh=True)
    warm = WarmCompilation(0.5, 2.5, cached=True, fresh=True)
    both = replace(compiled(1e-3), compilation=cold, warm_compilation=warm)
    text = " ".join(text_of([waiting, both]).split())
    assert "compiling saves time after 3,000 steps, compared with vectorized, the fastest" in text
    assert (
        "compiled in 6 s (1.5 s of it to start the compiler; 0.5 s in a new process with the cache)"
        in text
    )
    assert "vectorized: waits for the device 2 times a step" in text


def test_a_compile_time_of_the_former_method_is_marked_and_explained():
    warm = replace(compiled(1e-3), warm_compilation=WarmCompilation(0.5, 2.5, cached=False))
    text = " ".join(text_of([warm]).split())
    assert (
        "compiled in 6 s~ (after 2.5 s to start the compiler; 0.5 s in a new process with the "
        "cache, code missing)" in text
    )
    assert "~ compile time measured in a process that had compiled before" in text


def test_figures_of_uncommitted_code_are_marked_and_explained():
    dirty = replace(record().environment, dirty=True)
    text = text_of([timed("fused", 1e-3), replace(timed("vectorized", 1e-3), environment=dirty)])
    assert "  vectorized* " in text
    assert "  fused " in text
    assert "* measured with uncommitted changes" in " ".join(text.split())
    assert "uncommitted" not in text_of([timed("fused", 1e-3)])


def test_every_column_of_the_table_is_whole():
    name = "vectorized+compile[reduce-overhead]"
    # The largest figures that a run has printed.
    ceilings = Ceilings({"float32": 1e-3}, 1e12, {"forward": 1e-6, "step": 1e-6})
    longest = replace(
        compiled(1.234567e-3), variant=name, counters=Counters(1466245, 0), ceilings=ceilings
    )
    bounded = replace(longest, case=replace(longest.case, batch=64))
    rate = limit(bounded.case, "step", ceilings).seconds * 1e-3 / 1.234567e-3
    bounded = replace(bounded, ceilings=replace(ceilings, flops_per_second={"float32": rate}))
    text = text_of([bounded])
    assert "…" not in text
    assert name in text
    assert "1466245" in text
    assert "100% arithmetic" in text


def test_a_step_is_told_as_a_share_of_the_attainable():
    ceilings = Ceilings({"float32": 1e12}, 1e12, {"forward": 1e-6, "step": 5e-4})
    assert "50% overhead" in text_of([replace(timed("fused", 1e-3), ceilings=ceilings)])
    assert "overhead" not in text_of([record()])


def test_what_spoils_a_run_is_told_once():
    busy = replace(record().environment, cores=2, conditions=Conditions(load=3.0))
    disturbed = replace(timed("fused", 1e-3, elsewhere=0.8, throttled=3), environment=busy)
    lines = warnings([disturbed, disturbed, replace(timed("vectorized", 1e-3), environment=busy)])
    assert lines[1:] == [
        "2 of 3 cells were timed while other processes kept more than 0.25 of a processor busy, "
        "0.8 at most",
        "the GPU's clock was throttled in 2 of 3 cells",
    ]
    assert "load average is 3.0" in lines[0]


def test_results_shows_a_run_again(tmp_path, capsys):
    with record_file(tmp_path) as file:
        file.append(timed("vectorized", 1e-3))
    assert main(["results", str(tmp_path)]) == 0
    assert "vectorized" in capsys.readouterr().out
    assert main(["results", str(tmp_path), "--loss", "arcface"]) == 2
    assert "no record of 'arcface'; there are records of: island" in capsys.readouterr().err
    assert main(["results", str(tmp_path / "none")]) == 2
    assert "expected the folder of a run" in capsys.readouterr().err


def test_of_several_runs_each_table_stands_under_its_folder(tmp_path, capsys):
    runs = [save_run(tmp_path / name, [timed("reference", 1e-3)]) for name in ("one", "two")]
    assert main(["results", *map(str, runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(str(tmp_path))] == [f"{run}:" for run in runs]


def test_what_is_no_longer_registered_is_shown_last_and_marked():
    text = text_of([timed("gone", 1e-6), timed("vectorized", 1e-3), timed("reference", 2e-3)])
    places = [text.index(f"  {name} ") for name in ("vectorized", "reference", "gone")]
    assert places == sorted(places)
    assert "gone: no longer registered" in text
    assert text.count("no longer registered") == 1


def test_results_gives_every_figure_of_every_record(tmp_path, capsys):
    refused = replace(
        record(), variant="fused", status="refused", agreement=(BAD,), step=None, forward=None
    )
    run = save_run(tmp_path / "run", [timed("vectorized", 1e-3), refused])
    other = save_run(tmp_path / "other", [timed("reference", 1e-3)])
    assert main(["results", str(run), str(other), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["variant"] for row in rows] == ["vectorized", "fused", "reference"]
    assert [row["step_seconds"] for row in rows] == ["0.001", "", "0.001"]
    assert rows[1]["error"] == "inf"
    assert main(["results", str(run), "--json"]) == 0
    timed_row, refused_row = json.loads(capsys.readouterr().out)
    assert timed_row["step_seconds"] == pytest.approx(1e-3)
    assert timed_row["samples_per_second"] == pytest.approx(4e3)
    assert (refused_row["error"], refused_row["step_seconds"]) == ("inf", None)
    assert main(["results", str(run), "--json", "--csv"]) == 2
    assert "give one, not both" in capsys.readouterr().err
