"""Errors in the arguments are printed in one line, with the choices, and give exit code 2."""

import os
import subprocess
import sys

import click
import pytest
import torch

from lossbench import impls
from lossbench.bench.cli import COMMANDS, main
from lossbench.bench.format import binary, si
from lossbench.bench.metrics import SHOWN
from lossbench.bench.paths import ROOT
from lossbench.bench.run.plan import choose_tasks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--loss", "arcfaec"], "did you mean 'arcface'? there are: softmax, modified_"),
        (["run", "--variant", "nope"], "no variant 'nope'; there are: cce, cce_filtered, fused, "),
        (["run", "--variant", "fusde"], "no variant 'fusde'; did you mean 'fused'? there are: "),
        (["run", "--loss", "island", "--variant", "otl"], "no variant 'otl' of island; there"),
        (
            ["run", "--preset", "huge"],
            "'huge' is not one of 'quick', 'ci', 'ordinary', 'large', 'cuda', 'full'",
        ),
        (["run", "--batch", "0"], "0 is not in the range x>=1"),
        (["run", "--batch", "many"], "'many' is not a valid integer"),
        (["run", "--dtype", "int8"], "'int8' is not one of 'float32'"),
        (["run", "--data", "digits", "--dim", "8"], "digits has dim 64"),
        (["run", "--loss", "triplet_batch_hard", "--classes", "1"], "needs negatives"),
        (["run", "--resume", "/nowhere"], "/nowhere has no run: there is no plan.json"),
        (["run", "--out", "/proc/nowhere"], "expected a folder to write to"),
        (
            ["run", "--resume", "/nowhere", "--budget", "2"],
            "--resume takes no other option but --mixed and --on, got --budget",
        ),
        (["run", "--affinity", "0-x"], "expected numbers and ranges as in 0,2-3, got '0-x'"),
        (["run", "--affinity", "4000"], "expected some of the processors 0"),
        (["run", "--memory", "much"], "expected bytes such as 512MiB or 2GiB, got 'much'"),
        (["run", "--graphs", "--device", "cpu"], "expected --device cuda, got cpu"),
        (["run", "--machine", "\udcff"], "expected a name in UTF-8, got '\\udcff'"),
        (["show", "arcfaec"], "no loss 'arcfaec'; did you mean 'arcface'?"),
        (["shwo"], "No such command 'shwo'. Did you mean 'show'?"),
    ],
)
def test_a_wrong_argument_is_told_in_a_line(arguments, message, capsys):
    assert main(arguments) == 2
    out, errors = capsys.readouterr()
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors
    assert out == ""


@pytest.mark.parametrize("arguments", [["--help"], ["list"]], ids=["click", "rich"])
def test_a_reader_that_goes_is_no_failure(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "lossbench", *arguments]
    with os.fdopen(writer, "wb") as out:
        done = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["rnu"], ["--nope"]])
def test_what_runs_no_command_imports_nothing_heavy(arguments):
    code = (
        "import sys; from lossbench.bench.cli import main\n"
        f"main({arguments!r})\n"
        "print(*sorted({'torch', 'numpy', 'pandas', 'matplotlib', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_a_command_is_found_where_the_group_says(entry):
    command = entry.load()
    assert isinstance(command, click.Command)
    assert command.name == entry.name


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("lossbench sh", ["show"]),
        ("lossbench show arcf", ["arcface", "arcface_guarded"]),
        ("lossbench run --loss isl", ["island"]),
        ("lossbench run --variant torch_", ["torch_chunked"]),
    ],
)
def test_names_are_completed(line, names, monkeypatch, capsys):
    monkeypatch.setenv("_LOSSBENCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == [f"plain,{name}" for name in names]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("option", ["--budget", "--timeout", "--half-width"])
def test_a_number_that_is_not_finite_is_refused(option, number, capsys):
    assert main(["run", option, number]) == 2
    assert f"Invalid value for '{option}'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_is_refused_where_there_is_none(capsys):
    assert main(["run", "--device", "cuda"]) == 2
    assert "no CUDA device: torch" in capsys.readouterr().err


def test_list_shows_every_loss(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for loss in impls.losses():
        assert loss.name in out
    assert "additive angular margin" in out
    assert "001 `" not in out


def test_the_help_of_results_explains_every_column(capsys):
    assert main(["results", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for metric in SHOWN:
        assert f"{metric.heading}: {metric.meaning}." in out


@pytest.mark.parametrize("loss", [loss.name for loss in impls.losses()])
def test_show_tells_what_is_known_of_a_loss(loss, capsys):
    assert main(["show", loss]) == 0
    out = " ".join(capsys.readouterr().out.split())
    entry = impls.loss(loss)
    for text in (entry.formula, entry.document, *entry.departures):
        assert " ".join(text.split()) in out
    for implementation in impls.implementations(loss):
        assert implementation.variant in out


def test_without_a_size_quick_is_measured_and_with_one_a_plain_case():
    quick = choose_tasks("quick", (), (), "cpu", {})
    assert {case.data for case, _ in quick} == {"digits"}
    ((case, _),) = choose_tasks(None, ("arcface",), (), "cpu", {"batch": (7,)})
    assert (case.batch, case.dim, case.classes, case.data) == (7, 128, 10, "gaussian")


def test_a_preset_is_narrowed_by_what_is_given():
    tasks = choose_tasks("full", ("island",), (), "cpu", {"batch": (1024,)})
    assert {str(case) for case, _ in tasks} == {"1024x128, C=1000, cpu, gaussian"}
    # The grids of one size keep what they have beside it.
    given = {"batch": (256,), "classes": (10,), "dtype": ("float64",)}
    tasks = choose_tasks("full", ("softmax", "island"), (), "cpu", given)
    assert {(case.loss, case.dim, case.dtype, case.data) for case, _ in tasks} == {
        ("softmax", 512, "float64", "gaussian"),
        ("island", 512, "float64", "gaussian"),
        ("softmax", 128, "float64", "clustered"),
    }


def test_variants_are_narrowed_and_the_reference_stays():
    ((_, variants),) = choose_tasks(None, ("island",), ("vectorized",), "cpu", {})
    assert variants == ("reference", "vectorized")
    ((_, eager),) = choose_tasks(None, ("island",), (), "cpu", {})
    assert not [variant for variant in eager if "+compile" in variant]
    ((_, everything),) = choose_tasks(None, ("island",), (), "cpu", {}, compiled=True)
    assert {"vectorized+compile", "vectorized+compile[max-autotune]"} <= set(everything)


@pytest.mark.parametrize(
    ("value", "text"), [(0.00123, "1.23 ms"), (4.5e-8, "45 ns"), (2, "2 s"), (1500, "1.5 ks")]
)
def test_seconds_are_shown_with_their_unit(value, text):
    assert si(value, "s") == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1536, "1.5 KiB"), (1000 * 2**10, "1000 KiB"), (3 * 2**30, "3 GiB")],
)
def test_bytes_are_shown_with_their_unit(count, text):
    assert binary(count) == text
