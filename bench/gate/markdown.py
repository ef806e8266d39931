"""The findings of the gate in Markdown, for one comment on a pull request."""

from collections.abc import Iterator, Sequence
from html import escape

from lossbench.bench.gate.report import Finding, GateReport
from lossbench.bench.gate.table import HEADINGS, summary

MARKER = "<!-- lossbench gate -->"
"""The first line of the comment, by which a later run finds it and writes it anew."""

# What fails the gate is open, the rest is folded.
OPEN = ("regression", "lost")
# A comment may have 65,536 characters.
MOST_ROWS, LONGEST_CELL = 40, 300
VERDICTS = {0: "✅ nothing got worse", 1: "❌ worse", 2: "⚠️ could not be measured"}


def gate_markdown(report: GateReport) -> str:
    """Return the verdict, the findings by kind, the worst first, and the numbers of both."""
    parts = [MARKER, f"### lossbench gate: {VERDICTS[report.exit_code]}", ""]
    for kind, (heading, _) in HEADINGS.items():
        found = report.of_kind(kind)
        if not found:
            continue
        title = f"{heading}: {len(found)}"
        if kind in OPEN:
            parts += [f"**{title}**", "", *_table(found), ""]
        else:
            parts += [f"<details><summary>{title}</summary>", "", *_table(found), "", "</details>"]
    parts += ["", *(f"{escape(line)}  " for line in summary(report).splitlines())]
    return "\n".join(parts) + "\n"


def _table(found: Sequence[Finding]) -> Iterator[str]:
    yield "| loss | variant | case | quantity | head against base |"
    yield "| --- | --- | --- | --- | --- |"
    for finding in found[:MOST_ROWS]:
        case = "" if finding.case is None else str(finding.case)
        cells = (finding.loss, finding.variant, case, finding.quantity, finding.text)
        yield f"| {' | '.join(map(_cell, cells))} |"
    if len(found) > MOST_ROWS:
        yield f"| and {len(found) - MOST_ROWS} more | | | | |"


def _cell(text: str) -> str:
    """Return text for a cell: neither a bar nor markup of its own ends it."""
    short = text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 3]}..."
    return escape(short, quote=False).replace("|", "\\|").replace("\n", " ")
