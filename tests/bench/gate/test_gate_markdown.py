"""The comment of the gate names what got worse, and cannot be broken by what it quotes."""

from lossbench.bench.case.cases import Case
from lossbench.bench.gate.markdown import LONGEST_CELL, MARKER, MOST_ROWS, gate_markdown
from lossbench.bench.gate.report import Finding, GateReport
from tests.makers.records import ENVIRONMENT

CASE = Case("arcface", 64, 8, 10)


def report(*findings):
    return GateReport(
        environment=ENVIRONMENT,
        made="2026-01-02T03:04:05+00:00",
        base="abc",
        head="working tree",
        margin=0.05,
        budget_seconds=0.4,
        seconds=3.0,
        comparisons=(),
        findings=findings,
    )


def finding(kind, text="1 KiB to 2 KiB (+100.0%)"):
    return Finding(kind, "arcface", "fused", CASE, "saved_bytes", text)


def test_what_got_worse_is_open_and_the_rest_is_folded():
    text = gate_markdown(report(finding("note"), finding("regression")))
    first, second, *_ = text.splitlines()
    assert (first, second) == (MARKER, "### lossbench gate: ❌ worse")
    row = "| arcface | fused | 64x8, C=10, cpu, gaussian | saved_bytes | 1 KiB to 2 KiB (+100.0%) |"
    assert text.count(row) == 2
    assert text.index("**Worse: 1**") < text.index("<details><summary>Different: 1</summary>")
    assert "working tree against abc: 0 cells compared" in text


def test_the_verdict_is_that_of_the_exit_code():
    assert "✅ nothing got worse" in gate_markdown(report())
    assert "⚠️ could not be measured" in gate_markdown(report(finding("lost")))


def test_a_text_ends_no_cell_and_is_no_markup():
    text = gate_markdown(report(finding("lost", "a | b\n<script>" + "x" * 1000)))
    (row,) = [line for line in text.splitlines() if line.startswith("| arcface")]
    assert "a \\| b &lt;script&gt;xxx" in row
    assert len(row) < LONGEST_CELL + 200


def test_a_comment_has_a_limited_number_of_rows():
    text = gate_markdown(report(*[finding("note")] * (MOST_ROWS + 3)))
    assert text.count("| arcface |") == MOST_ROWS
    assert "| and 3 more |" in text
    assert len(text) < 65_536
