"""The printed tables of the gate, and of its proof."""

from typing import get_args

from rich.console import Group
from rich.table import Table
from rich.text import Text

from lossbench.bench.format import checks_table, figures_table
from lossbench.bench.gate.plant import SLOWER, VARIANT, Effect
from lossbench.bench.gate.proof import Proof
from lossbench.bench.gate.report import Finding, FindingKind, GateReport

HEADINGS: dict[FindingKind, tuple[str, str]] = {
    "regression": ("Worse", "bold red"),
    "lost": ("Could not be measured", "bold yellow"),
    "improvement": ("Better", "bold green"),
    "note": ("Different", "bold"),
}


def gate_table(report: GateReport) -> Group:
    """Return the findings by kind, the worst first, and a line that sums them up."""
    parts: list[Table | Text] = []
    for kind, (heading, style) in HEADINGS.items():
        if found := report.of_kind(kind):
            parts += [Text(heading, style), _findings(found), Text()]
    return Group(*parts, Text(summary(report)))


def _findings(findings: tuple[Finding, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("loss", "variant", "case", "quantity", "head against base"):
        table.add_column(column, overflow="fold")
    for found in findings:
        case = "" if found.case is None else str(found.case)
        cells = (found.loss, found.variant, case, found.quantity, found.text)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def summary(report: GateReport) -> str:
    """Return the numbers of compared cells and of findings, in two lines."""
    timed = sum(bool(comparison.screened) for comparison in report.comparisons)
    counts = ", ".join(
        f"{len(report.of_kind(kind))} {heading.lower()}" for kind, (heading, _) in HEADINGS.items()
    )
    return (
        f"{report.head} against {report.base}: {len(report.comparisons)} cells compared, "
        f"{timed} timed, margin {report.margin:.3g}, {report.seconds:.0f} s\n{counts}"
    )


def proof_table(proof: Proof) -> Group:
    """Return the gate's promises with their checks, and the figures of its runs by effect."""
    return Group(
        Text(
            "Shares of runs, each with its exact 95% interval in per cent. planted: change in the "
            f"head; a slower forward spins for {SLOWER:.0%} of its time. suspected at first: "
            "ratios outside the margin in the first process. measured: reported factors of the "
            "planted variant.\n"
        ),
        checks_table(proof.checks),
        Text(),
        _runs(proof),
    )


def _runs(proof: Proof) -> Table:
    table = figures_table(
        "planted", "runs", "cells", "suspected at first", "measured", "seconds a run"
    )
    for effect in get_args(Effect):
        runs = proof.select(effect)
        factors = [
            finding.factor
            for run in runs
            for finding in run.findings
            if finding.factor and run.caught and finding.variant == VARIANT
        ]
        table.add_row(
            effect,
            f"{len(runs)}",
            f"{sum(run.cells for run in runs)}",
            f"{sum(run.suspected for run in runs)}",
            f"{min(factors):.3g}x to {max(factors):.3g}x" if factors else "",
            f"{max((run.seconds for run in runs), default=0):.0f} at most",
        )
    return table
