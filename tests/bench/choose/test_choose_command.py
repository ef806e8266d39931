"""The commands ``choose``, ``choose-table``, ``choose-check`` on real and artificial records."""

import json
import re
from dataclasses import replace

import pytest
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.data import make_inputs
from lossbench.bench.choose.answer import code_of
from lossbench.bench.choose.measuring import expected_seconds, plan_missing
from lossbench.bench.choose.sources import Host, load_records
from lossbench.bench.cli import main
from lossbench.impls.recommended import recommendations
from tests.makers.choices import ARC, FULL, THREE, ask, elsewhere, full, seen
from tests.makers.records import ENVIRONMENT
from tests.makers.runs import save_run

# A machine without a compiler has no native operators.
BUILT = impls.implementation("island", "native").unsupported("cpu", torch.float32) is None
NATIVE = ("native",) * BUILT


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


REAL = ["--records", str(FULL), "--machine", "2-core-epyc"]


def test_real_records_answer_in_json_and_in_words(capsys):
    arguments = ["choose", "arcface", "--batch", "200", *REAL]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["best"]["basis"] == "modelled"
    assert found["request"]["case"]["batch"] == 200
    assert found["best"]["step_seconds"] < found["runners_up"][-1]["candidate"]["step_seconds"]
    assert found["source"]["machines"] == ["2-core-epyc"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"use {found['best']['variant']}")
    for part in ("modelled from", "in production", "why"):
        assert part in text


def test_all_but_what_is_to_be_copied_fits_80_columns_in_a_pipe(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["choose", "arcface", "--dim", "512", "--classes", "10000", *REAL]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    copied = [found["measurement"], *found["code"].splitlines()]
    assert found["measurement"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert found["measurement"] in lines
    assert [line for line in copied if line not in lines and f"  {line}" not in lines] == []
    assert [line for line in lines if len(line.rstrip()) > 80 and line.strip() not in copied] == []


@pytest.mark.parametrize("loss", recommendations())
def test_real_records_hold_an_answer_for_every_loss_that_is_recommended(loss):
    case = Case(loss, batch=256, dim=128, classes=1000)
    found = ask(full(), case)
    assert found.best.basis == "measured"
    assert found.best.variant in {i.variant for i in impls.implementations(loss)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["choose", "arcfaec"], "no loss 'arcfaec'; did you mean 'arcface'?"),
        (["choose", "arcface", "--records", "/nowhere"], "expected a run, or a folder of runs"),
        (["choose", "arcface", "--needs", "logit", *REAL], "has no output 'logit'; it has: loss"),
        (["choose", "arcface", "--max-memory", "much", *REAL], "expected bytes such as 512MiB"),
        (["choose", "island", "--dtype", "float64", *REAL], "no records of island in float64"),
        (["choose", "arcface", "--device", "cuda", *REAL], "no records of arcface on CUDA"),
        (["choose", "arcface", *REAL, "--machine", "x"], "from machine 'x'; expected one of: 2-"),
        (["choose", "arcface", "--max-memory", "1KB", *REAL], "the smallest is `"),
        (["choose", "triplet_weighted", "--classes", "1"], "needs negatives"),
        (["choose"], "Missing argument 'LOSS'. There are: softmax, modified_softmax"),
        (["choose-table", "--records", "/nowhere"], "expected a run, or a folder of runs"),
        (["choose-table", "--out", "/nowhere/table.json"], "in an existing folder"),
        (["choose-check", "--records", "/nowhere"], "expected a run, or a folder of runs"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(arguments, message, refused):
    assert message in refused(*arguments)


def measuring(monkeypatch, records):
    """Replace measurements by given records, and return the requested plans."""
    asked = []

    def measure(folder, plan):
        ((case, _),) = plan.tasks
        asked.append(plan)
        save_run(folder, [replace(each, case=case) for each in records])

    monkeypatch.setattr("lossbench.bench.cli.run.run_shown", measure)
    return asked


def test_nothing_is_measured_unasked(monkeypatch, tmp_path, capsys):
    save_run(tmp_path, THREE[:1])
    asked = measuring(monkeypatch, THREE)
    arguments = ["choose", "island", "--batch", "512", "--records", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    assert not asked
    assert json.loads(capsys.readouterr().out)["best"]["basis"] == "extrapolated"


def test_a_measurement_tells_its_time_first_and_is_found_again(monkeypatch, tmp_path, capsys):
    save_run(tmp_path / "old", THREE[:1])
    asked = measuring(monkeypatch, THREE)
    arguments = ["choose", "island", "--batch", "512", "--records", str(tmp_path), "--json"]
    assert main([*arguments, "--measure", "--budget", "7"]) == 0
    (plan,) = asked
    ((case, variants),) = plan.tasks
    assert (case.batch, plan.machine, plan.budget_seconds) == (512, "here", 7)
    assert variants == ("reference", "fused", *NATIVE, "vectorized")
    out, err = capsys.readouterr()
    assert json.loads(out)["best"]["variant"] == "fused"
    assert err.startswith("measuring reference, fused")
    assert re.search(r": about \d+ (s|min)$", err.splitlines()[0])
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["best"]["basis"] == "measured"


def test_only_what_is_missing_is_measured(monkeypatch, tmp_path, capsys):
    save_run(tmp_path, THREE[:2])
    asked = measuring(monkeypatch, THREE)
    arguments = ["choose", "island", "--batch", "64", "--classes", "100"]
    assert main([*arguments, "--records", str(tmp_path), "--measure"]) == 0
    assert [variants for plan in asked for _, variants in plan.tasks] == [
        ("reference", "fused", *NATIVE)
    ]
    capsys.readouterr()


def test_a_longer_measurement_is_expected_to_take_longer():
    here = Host.of(ENVIRONMENT, "cpu")
    short, long, compiled = (
        expected_seconds(plan_missing(ARC, [], "", here, compiled=c, budget_seconds=budget))
        for c, budget in ((False, 1), (False, 100), (True, 1))
    )
    assert long - short == pytest.approx(2 * 99)
    assert compiled > short + 60


def test_this_machine_is_not_measured_under_anothers_name(tmp_path, refused):
    save_run(tmp_path, elsewhere(THREE[:1], cpu="another"))
    arguments = ["choose", "island", "--records", str(tmp_path), "--machine", "there"]
    assert "this machine, which is not 'there'" in refused(*arguments, "--measure")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_cuda_device_is_told_at_once(tmp_path, refused):
    folder = str(save_run(tmp_path, THREE))
    arguments = ["choose", "island", "--device", "cuda", "--records", folder]
    assert "`lossbench first-light` makes them on a machine with a GPU" in refused(*arguments)
    assert "no CUDA device" in refused(*arguments, "--measure")


def test_the_choice_is_not_put_on_trial_by_another_machines_records(tmp_path, refused):
    save_run(tmp_path, elsewhere(THREE, cpu="another"))
    message = refused("choose-check", "--records", str(tmp_path))
    assert "expected records of a machine like" in message
    assert "got those of there (another" in message


@pytest.mark.slow
def test_a_size_is_really_measured(tmp_path, capsys):
    save_run(tmp_path / "old", [seen("reference", 1e-3, Case("contrastive", 64, 128, 100))])
    sizes = ["--batch", "8", "--dim", "4", "--classes", "3"]
    arguments = ["choose", "contrastive", *sizes, "--records", str(tmp_path), "--measure"]
    assert main([*arguments, "--budget", "0.2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"]["basis"] == "measured"
    assert len(load_records([tmp_path])) >= 4
