"""The commands ``choose``, ``choose-table`` and ``choose-check``, on real and on made records."""

import importlib
import json
from dataclasses import replace

import pytest
import torch

import impls
from bench.cases import Case
from bench.choose.answer import code_of
from bench.choose.shipped import table_text
from bench.choose.sources import (
    Host,
    NotMeasured,
    OtherMachine,
    choose_pools,
    load_readable,
    load_records,
    pools_of,
)
from bench.choose.trial import TrialReport, plan_of, predict, trial_of
from bench.choose.trial_table import trial_text
from bench.cli import main
from bench.conformance import Conformance
from bench.data import make_inputs
from bench.environment import ROOT
from bench.errors import UsageError
from bench.records import RECORDS, record_file
from tests.choosing import ARC, ISLAND, THREE, ask, lost, seen
from tests.test_records import ENVIRONMENT

FULL = ROOT / "results" / "2-core-epyc" / "full"
# In its package the command itself goes by the name of its module.
command = importlib.import_module("bench.cli.choose")


@pytest.fixture(scope="module")
def full():
    return load_records([FULL])


def elsewhere(records, name="there", **changes):
    environment = replace(ENVIRONMENT, machine=name, **changes)
    return [replace(record, environment=environment) for record in records]


HERE = Host.of(ENVIRONMENT, "cpu")


def test_the_records_of_several_machines_are_never_mixed():
    far = elsewhere([seen("vectorized", 1e-5)], cpu="another")
    pools = pools_of([*THREE, *far], ISLAND)
    assert [pool.host.machine for pool in choose_pools(pools, ISLAND, "", HERE)] == ["here"]
    (named,) = choose_pools(pools, ISLAND, "there", HERE)
    assert {record.variant for record in named.records} == {"vectorized"}
    with pytest.raises(OtherMachine, match="expected one of: here, there"):
        choose_pools(pools, ISLAND, "nowhere", HERE)


@pytest.mark.parametrize("changes", [{"cpu": "another"}, {"cores": 64}, {"torch": "1.0"}])
def test_another_machine_must_be_named(changes):
    pools = pools_of(elsewhere(THREE, **changes), ISLAND)
    with pytest.raises(OtherMachine, match=r"--machine there takes those of there .*--measure"):
        choose_pools(pools, ISLAND, "", HERE)
    with pytest.raises(NotMeasured, match="no records of island in float32 on cpu"):
        choose_pools([], ISLAND, "", HERE)


def test_the_newest_record_of_a_cell_counts():
    newer = seen("vectorized", 1e-4, made="2026-02-01T00:00:00+00:00")
    assert ask([newer, *THREE]).best.variant == "vectorized"


def test_a_run_that_cannot_be_read_is_left_out_and_told(tmp_path):
    for name in ("good", "old"):
        (tmp_path / name).mkdir()
        with record_file(tmp_path / name) as file:
            file.append(THREE[0])
    (tmp_path / "old" / RECORDS).write_text('{"schema": 1}\n')
    records, reasons = load_readable(tmp_path)
    assert records == [THREE[0]]
    assert "schema 1; this version reads schema 2" in reasons[0]
    with pytest.raises(UsageError, match="schema 1"):
        load_records([tmp_path])


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_the_three_lines_run(loss):
    case = Case(loss, batch=8, dim=4, classes=3)
    for wanted in (case, replace(case, dtype="bfloat16", autocast=True)):
        lines = code_of(wanted, "reference")
        assert len(lines.splitlines()) == 3
        names = dict(make_inputs(case))
        exec(lines, names)
        output = impls.loss(loss).output._fields[0]
        assert names[output].isfinite().all()


def test_the_three_lines_hold_the_dtype():
    names = dict(make_inputs(replace(ARC, dtype="float64")))
    exec(code_of(replace(ARC, dtype="float64"), "fused"), names)
    assert names["loss"].dtype == torch.float64


REAL = ["--records", str(FULL), "--machine", "2-core-epyc", "--no-measure"]


def test_real_records_answer_in_json_and_in_words(capsys):
    arguments = ["choose", "arcface", "--batch", "200", *REAL]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["interpolated"]
    assert found["request"]["case"]["batch"] == 200
    assert found["best"]["step_seconds"] < found["runners_up"][-1]["candidate"]["step_seconds"]
    assert found["source"]["host"]["machine"] == "2-core-epyc"
    assert main(arguments) == 0
    text = capsys.readouterr().out
    for part in (found["best"]["variant"], "interpolated in log space", "in production", "why"):
        assert part in text


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_real_records_hold_an_answer_for_every_loss(loss, full):
    case = Case(loss, batch=256, dim=128, classes=1000)
    found = ask(full, case)
    assert not found.interpolated
    assert found.best.variant in {i.variant for i in impls.implementations(loss)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["choose", "arcfaec"], "'arcfaec' is not one of"),
        (["choose", "arcface", "--records", "/nowhere"], "expected a run, or a folder that holds"),
        (["choose", "arcface", "--needs", "logit", *REAL], "has no output 'logit'; it has: loss"),
        (["choose", "arcface", "--max-memory", "much", *REAL], "expected bytes such as 512MiB"),
        (["choose", "arcface", "--batch", "9999", *REAL], "--measure measures it"),
        (["choose", "island", "--dtype", "float64", *REAL], "no records of island in float64"),
        (
            ["choose", "arcface", "--device", "cuda", *REAL],
            "no records of arcface in float32 on cu",
        ),
        (["choose", "arcface", *REAL, "--machine", "x"], "by the machine 'x'; expected one of: 2-"),
        (["choose", "arcface", "--max-memory", "1KB", *REAL], "the smallest is `"),
        (["choose", "triplet_weighted", "--classes", "1"], "needs negatives"),
        (["choose-table", "--records", "/nowhere"], "expected a run, or a folder that holds some"),
        (["choose-check", "--records", "/nowhere"], "expected a run, or a folder that holds some"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(arguments, message, capsys):
    assert main(arguments) == 2
    out, errors = capsys.readouterr()
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors
    assert out == ""


def measuring(monkeypatch, tmp_path, records):
    """Have a measurement give records, and return what was asked of it."""
    asked = []

    def measure(case, variants, folder, machine, _watching):
        asked.append((case, variants, machine))
        folder.mkdir(parents=True)
        with record_file(folder) as file:
            for each in records:
                file.append(replace(each, case=case))

    monkeypatch.setattr(command, "measure_missing", measure)
    monkeypatch.setattr(command, "RUNS", tmp_path / "runs")
    return asked


def test_what_is_not_recorded_is_measured_and_answered_from(monkeypatch, tmp_path, capsys):
    with record_file(tmp_path) as file:
        file.append(THREE[0])
    asked = measuring(monkeypatch, tmp_path, THREE)
    arguments = ["choose", "island", "--batch", "512", "--records", str(tmp_path)]
    assert main([*arguments, "--no-measure"]) == 2
    assert main([*arguments, "--json"]) == 0
    ((case, variants, machine),) = asked
    assert (case.batch, machine) == (512, "here")
    assert variants == ("reference", "fused", "vectorized")
    assert json.loads(capsys.readouterr().out)["best"]["variant"] == "fused"


def test_only_what_is_missing_is_measured(monkeypatch, tmp_path):
    with record_file(tmp_path) as file:
        for each in THREE[:2]:
            file.append(each)
    asked = measuring(monkeypatch, tmp_path, THREE)
    arguments = ["choose", "island", "--batch", "64", "--classes", "100"]
    assert main([*arguments, "--records", str(tmp_path)]) == 0
    assert not asked
    assert main([*arguments, "--records", str(tmp_path), "--measure"]) == 0
    assert [variants for _, variants, _ in asked] == [("reference", "fused")]


def test_this_machine_is_not_measured_under_anothers_name(tmp_path, capsys):
    with record_file(tmp_path) as file:
        file.append(elsewhere([THREE[0]], cpu="another")[0])
    arguments = ["choose", "island", "--records", str(tmp_path), "--machine", "there"]
    assert main([*arguments, "--measure"]) == 2
    assert "this is not the machine 'there'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_size_is_really_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "RUNS", tmp_path / "runs")
    with record_file(tmp_path) as file:
        file.append(seen("reference", 1e-3, Case("contrastive", 64, 128, 100)))
    sizes = ["--batch", "8", "--dim", "4", "--classes", "3"]
    assert main(["choose", "contrastive", *sizes, "--records", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"]["sizes"][0]["batch"] == 8
    assert len(load_records([tmp_path / "runs"])) >= 3


def test_the_trial_draws_sizes_between_recorded_ones_and_again_the_same(full):
    host = Host.of(full[0].environment, "cpu")
    drawn = predict(full, "cpu", "2-core-epyc", host, count=6, seed=3)
    recorded = {record.case for record in full}
    assert len({prediction.case for prediction in drawn}) == 6
    assert not recorded & {prediction.case for prediction in drawn}
    assert all(prediction.ranking.best.interpolated for prediction in drawn)
    again = predict(full, "cpu", "2-core-epyc", host, count=6, seed=3)
    assert [p.case for p in again] == [p.case for p in drawn]
    plan = plan_of(drawn, 1.0, 2, "here")
    assert all("+" not in variant for _, variant in plan.cells)


def test_a_choice_for_another_machine_is_not_put_on_trial(full):
    host = replace(Host.of(full[0].environment, "cpu"), threads=99)
    with pytest.raises(OtherMachine, match=r"not of a machine like this one, .* 99 threads"):
        predict(full, "cpu", "2-core-epyc", host, count=1, seed=0)


def test_too_few_sizes_to_draw_between_are_told():
    with pytest.raises(UsageError, match="hold sizes to draw 0 between, not 5"):
        predict(THREE, "cpu", "", HERE, count=5, seed=0)


@pytest.mark.parametrize(("others", "within"), [(4.5e-4, True), (4e-4, False)])
def test_a_choice_is_right_within_a_tenth_of_the_best(full, others, within):
    host = Host.of(full[0].environment, "cpu")
    (prediction,) = predict(full, "cpu", "2-core-epyc", host, count=1, seed=0)
    chosen, case = prediction.ranking.best.variant, prediction.case
    other = next(i.variant for i in impls.implementations(case.loss) if i.variant != chosen)
    found = trial_of(prediction, [seen(chosen, 4.8e-4, case), seen(other, others, case)])
    assert (found.within, found.best) == (within, other)
    assert not trial_of(prediction, [lost(chosen, case)]).within
    report = TrialReport(ENVIRONMENT, "2026-01-01", 0, 1.0, (found,) * 10)
    assert (report.needed, report.outcome) == (9, "holds" if within else "fails")
    assert report.right_always(other) == 10
    assert f"always {other}: 10 of 10" in trial_text(report)


def test_the_table_names_what_everyone_can_take_and_is_clearly_faster():
    worse = (Conformance("NaN", "finite", "finite", "worse", "out.loss"),)
    case = Case("normface", 64, 128, 100)
    records = [
        seen("reference", 1e-3, case),
        seen("pml", 1e-4, case),
        seen("fused", 2e-4, case),
        seen("vectorized", 9.9e-4, case, noise=0.1),
        seen("fused+compile", 1e-4, case, compile_seconds=1.0),
        seen("fused", 2e-4, replace(case, batch=256), conformance=worse),
        seen("reference", 1e-3, replace(case, batch=256)),
        seen("fused", 2e-4, replace(case, batch=512)),
    ]
    lines = json.loads(table_text(records))["losses"]["normface"]
    assert [(line["batch"], line["variants"]) for line in lines] == [
        (64, ["fused", "reference"]),
        (256, ["reference"]),
    ]
    assert lines[0]["speedups"] == [5.0, 1.0]
    assert table_text(reversed(records)) == table_text(records)


def test_a_table_of_nothing_is_refused():
    with pytest.raises(UsageError, match="no record that was timed beside its reference"):
        table_text([lost("reference")])
    with pytest.raises(UsageError, match="'here' has records of several processors"):
        table_text([*THREE, *elsewhere([seen("fused", 1e-4, ARC)], "here", cpu="another")])
