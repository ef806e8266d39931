"""The content of a profile's trace, table and pictures."""

import importlib
import re
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.cli import main
from lossbench.bench.machine.worker import Worker
from lossbench.bench.measure.memory import measure_memory
from lossbench.bench.profile import serving
from lossbench.bench.profile.profiling import profile_folder, profile_variant
from lossbench.bench.profile.recording import operators_of, profile_steps
from lossbench.bench.profile.table import operator_table
from lossbench.bench.profile.trace import read_trace

CASE = Case("arcface", batch=32, dim=16, classes=10)
VARIANTS = ("reference", "fused")
STEPS = 3
MIB = 2**20


@pytest.fixture(scope="module")
def worker():
    asked = Worker(threads=1)
    yield asked
    asked.close()


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("profiles")


@pytest.fixture(scope="module")
def profiles(worker, out):
    folder = profile_folder(out, CASE)
    return {name: profile_variant(worker, CASE, name, STEPS, folder) for name in VARIANTS}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_trace_has_every_step_with_its_phases(profiles, variant):
    trace = read_trace(profiles[variant].files[0], "cpu")
    assert len(trace.steps) == STEPS
    for step in trace.steps:
        assert [phase.name for phase in step.children] == ["forward", "backward"]
        assert all(phase.children for phase in step.children)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_operators_are_those_of_the_trace(profiles, variant):
    def names(span):
        for child in span.children:
            # The profiler counts an operator that does nothing but call itself once.
            if [child.name] != [span.name] * len(span.children):
                yield child.name
            yield from names(child)

    steps = read_trace(profiles[variant].files[0], "cpu").steps
    operators = {row.name: row.calls for row in profiles[variant].operators}
    assert operators.pop("ProfilerStep*") == STEPS
    assert Counter(name for step in steps for name in names(step)) == operators
    assert operators["aten::mm"] >= 3 * STEPS


def test_the_operators_add_up_to_the_total_of_the_profiler():
    profiler = profile_steps(lambda: torch.ones(MIB).square().sum(), 4, "cpu")
    operators = operators_of(profiler, "cpu")
    total = profiler.key_averages().self_cpu_time_total / 1e6
    assert sum(row.self_seconds for row in operators) == pytest.approx(total, rel=1e-9)
    assert {row.name: row.calls for row in operators}["aten::sum"] == 4
    assert operators == tuple(sorted(operators, key=lambda row: -row.self_seconds))


def test_the_table_has_a_row_for_each_of_the_first_operators_and_adds_up_the_rest(profiles):
    operators = profiles["fused"].operators
    console = Console(width=200)
    with console.capture() as captured:
        console.print(operator_table(operators, STEPS, 3, device=False))
    lines = captured.get().splitlines()
    assert [line.split("  ")[0].rstrip() for line in lines] == [
        "operator",
        *(row.name for row in operators[:3]),
        f"{len(operators) - 3} others",
        "all",
    ]
    shares = [float(share) for line in lines for share in re.findall(r"([\d.]+)%", line)]
    assert sum(shares[:-1]) == pytest.approx(shares[-1], abs=0.3)
    assert shares[-1] == 100


@pytest.mark.parametrize(
    ("loss", "variant"),
    [
        ("softmax", "reference"),
        ("sphereface", "vectorized"),
        ("center_mse", "fused"),
        ("island", "reference"),
        ("triplet_batch_hard", "fused"),
        ("triplet_weighted", "reference"),
    ],
)
def test_the_peak_is_the_one_that_is_measured(worker, out, loss, variant):
    case = Case(loss, batch=32, dim=16, classes=10)
    found = profile_variant(worker, case, variant, 1, profile_folder(out, case))
    measured = measure_memory(case, impls.implementation(loss, variant))
    assert found.peak.bytes == measured.step_peak_bytes
    assert sum(found.peak.holders.values()) == found.peak.bytes


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_flame_graph_is_one_page_with_the_operators(profiles, variant):
    _, plot, flame = profiles[variant].files
    page = flame.read_text()
    assert not re.search(r"https?:|//|@import|src=|href=", page.split("</style>")[1])
    assert not re.search(r"url\(|@import|http", page)
    for row in profiles[variant].operators:
        if row.name.startswith("aten::"):
            assert f"{row.name}: " in page
    assert "<svg" in plot.read_text()


def test_the_command_shows_the_variants_and_what_is_unsupported(tmp_path, capsys):
    arguments = ["softmax", "vectorized", "liger", "--batch", "16", "--steps", "1", "--rows", "2"]
    assert main(["profile", *arguments, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "softmax vectorized" in shown
    assert "liger: unsupported: " in shown
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "vectorized.flame.html",
        "vectorized.memory.svg",
        "vectorized.pt.trace.json",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["arcfaec"], "no loss 'arcfaec'; did you mean 'arcface'?"),
        (["arcface", "nope"], "no variant 'nope'; there are: cce, "),
        (["softmax", "liger"], "liger: unsupported: "),
        (["arcface", "--steps", "0"], "0 is not in the range x>=1"),
        (["arcface", "--port", "70000"], "70000 is not in the range 1<=x<=65535"),
        (["arcface", "--out", "/proc/nowhere"], "expected a folder to write to"),
    ],
)
def test_a_wrong_argument_is_reported_in_one_line(arguments, message, tmp_path, capsys):
    assert main(["profile", "--out", str(tmp_path), *arguments]) == 2
    errors = capsys.readouterr().err
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors


def test_a_missing_plugin_is_reported_before_anything_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(serving, "find_spec", lambda _name: None)
    assert main(["profile", "arcface", "--serve", "--out", str(tmp_path)]) == 2
    assert "pip install --group profile" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_busy_machine_is_warned_of(monkeypatch, capsys, tmp_path):
    # The package has an attribute of the same name, so the module is imported by its full name.
    command = importlib.import_module("lossbench.bench.cli.profile")
    busy = SimpleNamespace(warnings=("the load average is 9 on 2 cores",))
    monkeypatch.setattr(command, "current_environment", lambda: busy)
    size = ("--batch", "8", "--dim", "4", "--classes", "3", "--steps", "1")
    assert main(["profile", "island", "reference", *size, "--out", str(tmp_path)]) == 0
    assert "warning: the load average is 9 on 2 cores" in capsys.readouterr().err
