"""Two trees live side by side in one process, and the gate tells what got worse, for real."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from io import StringIO

import pytest
import torch
from rich.console import Console

from bench.cases import Case
from bench.cli import main
from bench.counters import Counters
from bench.environment import ROOT
from bench.gate import trees
from bench.gate.compare import Seen
from bench.gate.confirm import confirm
from bench.gate.findings import coverage_findings, findings_of
from bench.gate.plan import COUNTED, TIMED, Plan, choose_cells
from bench.gate.plant import plant, source_of
from bench.gate.proof import Run, hold_proof
from bench.gate.report import Comparison, Finding, slowdown
from bench.gate.table import proof_table
from bench.gate.trees import copy_files, redirect_imports
from bench.memory import Memory
from bench.timing import Samples, Timing
from bench.worker import Lost

CASE = Case("contrastive", 16, 8, 5)
PLAN = Plan((TIMED,), (COUNTED,), (), (), False, 0.05, 0.4, 1, "cpu")
PASSED = Seen("passed", "", Memory(5000, 8000, 6000, 9), Counters(20, 0))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import impls\n", "import new_impls as impls\n"),
        ("import impls as i, os\n", "import new_impls as i, os\n"),
        ("import impls.a.b\n", "import new_impls.a.b, new_impls as impls\n"),
        ("import impls.a as a\n", "import new_impls.a as a\n"),
        ("from impls import x\n", "from new_impls import x\n"),
        ("from reference.y import x as z  # θ\n", "from new_reference.y import x as z  # θ\n"),
        (
            "from impls.a import (\n    x,\n    y,\n)\nz\n",
            "from new_impls.a import x, y\n\n\n\nz\n",
        ),
        ("def f():\n    '²'; import impls\n", "def f():\n    '²'; import new_impls as impls\n"),
        ("import implsx\nfrom . import impls\n", "import implsx\nfrom . import impls\n"),
        ("'import impls'  # import impls\n", "'import impls'  # import impls\n"),
        ("from impls import (\n", "from impls import (\n"),
    ],
)
def test_imports_are_redirected_and_lines_stay(source, expected):
    assert redirect_imports(source.encode(), "new_").decode() == expected


@pytest.fixture
def pair(tmp_path):
    """Two copies of the working tree; the second's contrastive loss is twice as large."""
    one, two = (copy_files(name, tmp_path) for name in ("one", "two"))
    with two.file("impls/fused/contrastive.py").open("a") as file:
        file.write(
            "\nonce = Contrastive.forward\n"
            "def twice(self, x0, x1, same):\n"
            "    from impls.late import FACTOR\n"
            "    return LossOnly(FACTOR * once(self, x0, x1, same).loss)\n"
            "Contrastive.forward = twice\n"
        )
    # The edit comes after the copy, whose imports are redirected already.
    path = two.file("impls/fused/contrastive.py")
    path.write_text(path.read_text().replace("from impls.late", "from two_impls.late"))
    two.file("impls/late.py").write_text("FACTOR = 2\n")
    yield one, two
    for name in [name for name in sys.modules if name.startswith(("one_", "two_"))]:
        del sys.modules[name]
    sys.path.remove(str(tmp_path))


def inputs():
    generator = torch.Generator().manual_seed(0)
    x0, x1 = torch.randn(2, 6, 4, generator=generator)
    return {"x0": x0, "x1": x1, "same": torch.tensor([1.0, 0, 1, 0, 1, 0])}


def test_two_trees_live_side_by_side(pair):
    one, two = (tree.load().implementation("contrastive", "fused") for tree in pair)
    assert type(one) is not type(two)
    first, second = one.build(), two.build()
    assert type(first).__module__ == "one_impls.fused.contrastive"
    assert type(second).__module__ == "two_impls.fused.contrastive"
    assert second(**inputs()).loss == 2 * first(**inputs()).loss
    for module in (first, second):
        again = pickle.loads(pickle.dumps(module))
        assert type(again) is type(module)
        out = again(**inputs())
        assert type(out).__module__.split("_")[0] == type(module).__module__.split("_")[0]


def test_nothing_of_a_tree_is_the_harness_s_own_or_the_other_s(pair):
    for tree in pair:
        tree.load()
    for name, module in list(sys.modules.items()):
        prefix = name.split("_")[0]
        if prefix not in ("one", "two"):
            continue
        for value in vars(module).values():
            home = getattr(value, "__module__", None) or getattr(value, "__name__", "")
            top = str(home).split(".")[0]
            assert not top.endswith(("impls", "reference")) or top.startswith(prefix), home


def test_torch_compile_keeps_the_trees_apart(pair):
    outs = [
        torch.compile(
            tree.load().implementation("contrastive", "fused").build(validate=False),
            backend="eager",
            fullgraph=True,
        )(**inputs())
        for tree in pair
    ]
    assert outs[1].loss == 2 * outs[0].loss
    assert [type(out).__module__ for out in outs] == [
        "one_reference.outputs",
        "two_reference.outputs",
    ]


def timing(factor, processes=1, noise=(0.999, 1.001)):
    samples = tuple(factor * x for x in noise * 20)
    return Timing(tuple(Samples(samples, (1.0,) * len(samples), 1) for _ in range(processes)))


def comparison(head=PASSED, base=PASSED, **confirmed):
    return Comparison(CASE, "fused", base, head, {}, confirmed)


def found(compared):
    return [(f.kind, f.quantity) for f in findings_of(compared, margin=0.05)]


def test_equals_give_no_finding_and_a_cleared_suspicion_none():
    assert found(comparison(step=timing(1.03, processes=3))) == []


@pytest.mark.parametrize(
    ("factor", "kind"), [(1.15, "regression"), (0.8, "improvement"), (1.051, "note")]
)
def test_times_beyond_the_margin_are_told_with_factor_and_interval(factor, kind):
    (told,) = findings_of(comparison(step=timing(factor, processes=3)), margin=0.05)
    assert (told.kind, told.quantity, told.processes) == (kind, "step", 3)
    assert told.factor == pytest.approx(factor, rel=0.01)
    assert told.interval.low < told.factor < told.interval.high
    assert "3 fresh processes" in told.text


def test_the_slowdown_is_the_inverse_of_the_speedup():
    seen = slowdown(timing(1.25))
    assert seen.median == pytest.approx(1.25)
    assert seen.low < 1.25 < seen.high
    assert slowdown(timing(2.0, noise=(1.0,))).median == pytest.approx(2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"saved_bytes": 6400}, []),
        ({"saved_bytes": 6600}, [("regression", "saved")]),
        ({"forward_peak_bytes": 5600}, [("regression", "forward peak")]),
        ({"backward_peak_bytes": 9000}, [("regression", "step peak")]),
        ({"backward_peak_bytes": 7000}, [("improvement", "step peak")]),
        ({"allocations": 10}, [("note", "allocations")]),
    ],
)
def test_bytes_fail_beyond_a_hundredth_and_a_grain(change, expected):
    assert found(comparison(replace(PASSED, memory=replace(PASSED.memory, **change)))) == expected


@pytest.mark.parametrize(
    ("counters", "expected"),
    [
        (Counters(20, 1), [("regression", "waits for the device")]),
        (Counters(25, 0), [("note", "operators")]),
    ],
)
def test_counts_are_told_and_a_new_wait_fails(counters, expected):
    assert found(comparison(replace(PASSED, counters=counters))) == expected


@pytest.mark.parametrize(
    ("base", "head", "kind"),
    [
        ("passed", "refused", "regression"),
        ("passed", "failed", "regression"),
        ("passed", "crashed", "lost"),
        ("crashed", "timeout", "lost"),
        ("passed", "departs", "note"),
        ("refused", "passed", "note"),
        ("crashed", "passed", "note"),
    ],
)
def test_a_variant_that_stops_agreeing_fails(base, head, kind):
    seen = {"passed": PASSED}
    trees = [seen.get(status, Seen(status, "why")) for status in (head, base)]
    assert found(comparison(*trees)) == [(kind, "agreement")]


def test_what_is_refused_in_both_alike_is_no_finding():
    assert found(comparison(Seen("departs", "why"), Seen("departs", "why"))) == []


def test_new_and_vanished_variants_and_losses_are_told():
    base = {"island": ("reference", "fused"), "gone": ("reference",)}
    head = {"island": ("reference", "sparse", "mine"), "come": ("reference",)}
    told = [(f.text, f.loss, f.variant) for f in coverage_findings(base, head)]
    assert sorted(told) == [
        ("new", "come", ""),
        ("new", "island", "sparse, mine"),
        ("vanished", "gone", ""),
        ("vanished", "island", "fused"),
    ]


def test_a_suspicion_needs_three_fresh_processes_and_is_cleared_by_two():
    assert not PLAN.suspects(timing(1.04))
    assert PLAN.suspects(timing(1.06))
    assert PLAN.suspects(timing(0.9))
    assert [PLAN.settles(timing(1.3, processes=n)) for n in (1, 2, 3)] == [False, False, True]
    assert [PLAN.settles(timing(1.0, processes=n)) for n in (1, 2)] == [False, True]
    unlike = Timing.joined(timing(factor) for factor in (1.02, 1.3, 1.1))
    assert not PLAN.settles(unlike)


class Scripted:
    """Stands in for fresh workers; the n-th is slower by the n-th factor, or is lost."""

    started = 0

    def __init__(self, factors):
        self.factors = iter(factors)

    def __call__(self, _threads):
        self.started += 1
        return self

    def close(self):
        pass

    def ask(self, _timeout, _question, _trees, _case, _variant, phases, _sampling):
        factor = next(self.factors)
        if factor is None:
            raise Lost("crashed", "the worker ended")
        return {phase: timing(factor) for phase in phases}


@pytest.mark.parametrize(
    ("factors", "processes", "expected"),
    [
        ((1.2, 1.2, 1.2), 3, [("regression", "step")]),
        ((0.7, 0.7, 0.7), 3, [("improvement", "step")]),
        ((1.08, 1.0), 2, []),
        ((1.0, 1.3, 1.0), 3, []),
        ((1.1, 1.3, 1.1, 1.5, 1.0, 1.3), 6, [("note", "step")]),
        ((1.2, None), 2, [("lost", "times")]),
    ],
)
def test_a_suspicion_is_tried_in_fresh_processes_until_it_is_settled(
    factors, processes, expected, monkeypatch
):
    workers = Scripted(factors)
    monkeypatch.setattr("bench.gate.confirm.Worker", workers)
    suspect = replace(comparison(), screened={"step": timing(1.2), "forward": timing(1.0)})
    (tried,) = confirm([suspect], (None, None), PLAN, lambda _: None)
    assert workers.started == processes
    assert found(tried) == expected


def test_cells_are_what_both_trees_have_and_no_reference_is_weighed_at_large_sizes():
    base = {"island": ("reference", "fused", "fused+compile"), "softmax": ("old",)}
    head = {"island": ("reference", "fused", "fused+compile"), "softmax": ("new",)}
    cells = [(c.case.batch, c.variant, c.judged) for c in choose_cells(PLAN, base, head)]
    assert cells == [(128, "reference", True), (128, "fused", True), (1024, "fused", False)]
    compiled = replace(PLAN, variants=("fused+compile",), counted=())
    assert [c.variant for c in choose_cells(compiled, base, head)] == ["fused+compile"]


def test_a_run_of_the_proof_knows_an_alarm_from_a_catch():
    def run(effect, variant, kind="regression"):
        told = Finding(kind, "island", variant, None, "step", "")
        return Run(effect, "island", 2, 1, (told,), 1.0)

    assert run("identical", "fused").alarmed
    assert run("slower", "fused").caught
    assert not run("slower", "fused").alarmed
    assert run("slower", "vectorized").alarmed
    assert not run("slower", "vectorized").caught
    assert not run("slower", "fused", "lost").caught


def git(repository, *arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=repository, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository whose first commit has no implementations; the second has, and is tagged."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "nothing")
    git(folder, "tag", "empty")
    for tag, source in (("bare", ""), ("broken", "def\n")):
        for package in ("impls", "reference"):
            (folder / package).mkdir(exist_ok=True)
            (folder / package / "__init__.py").write_text(source)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", tag)
        git(folder, "tag", tag)
        shutil.rmtree(folder / "impls")
        shutil.rmtree(folder / "reference")
    for package in ("bench", "impls", "reference"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=unwanted)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")
    git(folder, "tag", "good")
    return folder


@pytest.fixture
def scratch(repository, monkeypatch, tmp_path):
    """The repository as the harness's own, put back afterwards; what is left behind is counted."""
    monkeypatch.setattr(trees, "ROOT", repository)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield repository
    git(repository, "reset", "-q", "--hard", "good")
    git(repository, "clean", "-q", "-fd")
    assert list(tmp_path.glob("lossbench-*")) == []


QUICK = ("--loss", "contrastive", "--variant", "fused", "--batch", "64", "--budget", "0.1")


@pytest.mark.usefixtures("scratch")
def test_identical_code_passes_interleaved(tmp_path, capsys):
    file = tmp_path / "gate.json"
    code = main(["gate", "good", *QUICK, "--margin", "900%", "--json", str(file)])
    assert code == 0
    (seen,) = json.loads(file.read_text())["comparisons"]
    assert seen["base"] == seen["head"]
    for phase in ("forward", "step"):
        (samples,) = seen["screened"][phase]["processes"]
        assert len(samples["seconds"]) == len(samples["reference_seconds"]) >= 6
        assert samples["seconds"] != samples["reference_seconds"]
    assert "0 worse" in capsys.readouterr().out


NEW = """

@register("contrastive", "mine")
class Mine(Contrastive):
    '''New.'''
"""
SOURCE = source_of("contrastive")


def append(repository, text):
    with (repository / SOURCE).open("a") as file:
        file.write(text)


def command_of(repository, tmp_path, *arguments):
    """Return what runs the command as a user does, and a folder that it keeps its files in."""
    (tmp_path / "own").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "own"), "OMP_NUM_THREADS": "1"}
    how = {"cwd": repository, "env": environment, "text": True}
    return [sys.executable, "-m", "bench", "gate", *arguments], how


@pytest.mark.slow
def test_the_command_names_what_is_slower_and_exits_with_1(scratch, tmp_path):
    plant(scratch / SOURCE, "contrastive", "slower", share=2.0)
    append(scratch, NEW)
    command, how = command_of(scratch, tmp_path, "good", *QUICK, "--json", str(tmp_path / "json"))
    done = subprocess.run(command, capture_output=True, check=False, timeout=300, **how)
    assert done.returncode == 1, done.stderr
    told = json.loads((tmp_path / "json").read_text())["findings"]
    (slow,) = [finding for finding in told if finding["quantity"] == "forward"]
    assert (slow["kind"], slow["loss"], slow["variant"]) == ("regression", "contrastive", "fused")
    assert slow["interval"]["low"] > 2
    assert slow["processes"] >= 3
    line = next(line for line in done.stdout.splitlines() if " forward " in line)
    for part in ("contrastive", "fused", "64x128, C=100", "fresh processes", slow["text"]):
        assert part in line
    assert [f["text"] for f in told if f["variant"] == "mine"] == ["new"]
    assert list((tmp_path / "own").iterdir()) == []


def test_ctrl_c_leaves_nothing(scratch, tmp_path):
    command, how = command_of(scratch, tmp_path, "good", "--loss", "contrastive")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how) as gate:
        # The first cell is begun, so that trees and worker are there.
        assert "[1/" in gate.stderr.readline()
        assert list((tmp_path / "own").iterdir())
        gate.send_signal(signal.SIGINT)
        assert gate.wait(30) == 130
        assert "Traceback" not in gate.stderr.read()
    assert list((tmp_path / "own").iterdir()) == []


def test_a_planted_buffer_is_found_without_a_clock(scratch, capsys):
    plant(scratch / SOURCE, "contrastive", "buffer")
    assert main(["gate", "good", *QUICK, "--counts"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if "forward peak" in line)
    assert "contrastive" in line
    assert "fused" in line
    assert "%" in line


WRONG = """
_forward = Contrastive.forward
Contrastive.forward = lambda *inputs, **named: LossOnly(1.01 * _forward(*inputs, **named).loss)
"""
RAISING = """
def _raise(*_, **__):
    raise RuntimeError("broken at head")
Contrastive.forward = _raise
"""
DYING = """
import os
Contrastive.forward = lambda *_, **__: os._exit(3)
"""


@pytest.mark.parametrize(
    ("edit", "code", "message"),
    [
        (WRONG, 1, "passed in the base, refused (out.loss is off by 1.0e-02"),
        (RAISING, 1, "failed (RuntimeError: broken at head) in the head"),
        (DYING, 2, "crashed (the worker ended with exit code 3) in the head"),
    ],
)
def test_a_head_that_is_broken_fails_and_one_that_is_lost_cannot_be_measured(
    edit, code, message, scratch, capsys
):
    append(scratch, edit)
    assert main(["gate", "good", *QUICK]) == code
    assert message in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("nowhere", "expected a commit of this repository, got 'nowhere'"),
        ("empty", "has no impls and reference to compare with"),
        ("bare", "its impls has no losses, loss, implementations, implementation"),
        ("broken", "its impls raises SyntaxError"),
    ],
)
def test_a_base_that_cannot_be_measured_exits_with_2(base, message, capsys):
    assert main(["gate", base, *QUICK]) == 2
    assert message in capsys.readouterr().err


def test_another_commit_can_be_the_head(scratch, capsys):
    plant(scratch / SOURCE, "contrastive", "buffer")
    assert main(["gate", "good", "--head", "good", *QUICK, "--counts"]) == 0
    assert "1 cells compared, 0 timed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'BASE'"),
        (["HEAD", "--margin", "much"], "expected a share such as 5%, got 'much'"),
        (["HEAD", "--loss", "arcfaec"], "'arcfaec' is not one of"),
        (["HEAD", "--budget", "0"], "0.0 is not in the range x>0"),
    ],
)
def test_a_wrong_argument_is_told_in_a_line(arguments, message, capsys):
    assert main(["gate", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.usefixtures("scratch")
def test_an_unknown_variant_is_told_with_those_there_are(capsys):
    assert main(["gate", "good", "--loss", "contrastive", "--variant", "nope"]) == 2
    assert "the head has: fused, fused+compile" in capsys.readouterr().err


def test_the_proof_plants_and_catches_a_buffer_and_leaves_the_rest_alone(monkeypatch):
    monkeypatch.setattr("bench.gate.proof.plantable", lambda: ["contrastive"])
    monkeypatch.setattr("bench.gate.proof.get_args", lambda _: ("buffer",))
    proof = hold_proof(PLAN, 1, lambda _: None)
    (run,) = proof.runs
    assert (run.effect, run.loss, run.cells) == ("buffer", "contrastive", 2)
    assert run.caught
    assert not run.alarmed
    assert [check.outcome for check in proof.checks] == ["too few trials to judge"] * 4
    text = StringIO()
    Console(file=text, width=160).print(proof_table(proof))
    assert "an extra [B, B] buffer: found always" in text.getvalue()
