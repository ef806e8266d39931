"""The gate's proof distinguishes catches from false alarms, and checks the promises."""

import pytest

from lossbench.bench.format import plain_text
from lossbench.bench.gate.proof import Proof, Run, hold_proof
from lossbench.bench.gate.report import Finding
from lossbench.bench.gate.table import proof_table
from lossbench.bench.machine.environment import current_environment
from tests.makers.comparisons import PLAN


def run(effect, variant="", kind="regression"):
    """Return a run of the gate that reported a regression of a variant, or of none."""
    told = (Finding(kind, "island", variant, None, "step", ""),) if variant else ()
    return Run(effect, "island", 2, 1, told, 1.0)


def test_a_run_of_the_proof_knows_an_alarm_from_a_catch():
    assert run("identical", "fused").alarmed
    assert run("slower", "fused").caught
    assert not run("slower", "fused").alarmed
    assert run("slower", "vectorized").alarmed
    assert not run("slower", "vectorized").caught
    assert not run("slower", "fused", "lost").caught


def proof(quiet=20, caught=19, buffers=20):
    """Return a proof of 20 runs per effect, with the given numbers of right outcomes."""
    runs = []
    for effect, right, seen in (
        ("identical", "", quiet),
        ("slower", "fused", caught),
        ("buffer", "fused", buffers),
    ):
        wrong = "" if right else "fused"
        runs += [run(effect, right if i < seen else wrong) for i in range(20)]
    environment = current_environment("here")
    return Proof(environment=environment, made="", budget_seconds=1, margin=0.05, runs=tuple(runs))


@pytest.mark.parametrize(
    ("found", "code"),
    [({}, 0), ({"quiet": 19}, 0), ({"quiet": 18}, 1), ({"caught": 18}, 1), ({"buffers": 19}, 1)],
)
def test_a_gate_that_breaks_a_promise_exits_with_1(found, code):
    outcomes = [check.outcome for check in proof(**found).checks]
    assert outcomes.count("fails") == code
    assert proof(**found).exit_code == code


def test_the_proof_plants_and_catches_a_buffer_and_leaves_the_rest_alone(monkeypatch):
    monkeypatch.setattr("lossbench.bench.gate.proof.plantable", lambda: ["contrastive"])
    monkeypatch.setattr("lossbench.bench.gate.proof.get_args", lambda _: ("buffer",))
    made = hold_proof(PLAN, 1, lambda _: None)
    (only,) = made.runs
    assert (only.effect, only.loss, only.cells) == ("buffer", "contrastive", 2)
    assert only.caught
    assert not only.alarmed
    assert [check.outcome for check in made.checks] == ["too few trials to judge"] * 4
    assert "an extra [B, B] buffer: always found" in plain_text(proof_table(made))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "0"], "0 is not in the range x>=1"),
        (["--margin", "much"], "expected a percentage such as 5%, got 'much'"),
        (["--out", "/proc/nowhere"], "expected a folder to write to"),
    ],
)
def test_a_wrong_argument_is_told_in_a_line(arguments, message, refused):
    assert message in refused("gate-proof", *arguments)
