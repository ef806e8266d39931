"""Print what the variants of a Loss do in the situations of a training loop."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
from lossbench.bench.training_loop.matrix import TrainingRow
from lossbench.bench.training_loop.situation import Fitness

FITNESS_STYLES = {"right": "green", "limit": "yellow", "worse": "red", "-": "dim"}
FITNESS_MEANINGS: dict[Fitness, str] = {
    "right": "as the reference, or as the same steps outside the situation",
    "limit": "refused, as documented",
    "worse": "fails, or gives something else",
    "-": "cannot be in this situation",
}


def training_table(rows: Sequence[TrainingRow]) -> Table:
    """Return a table of situations, a column a variant."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("situation", no_wrap=True)
    for row in rows:
        table.add_column(Text(row.label))
    for place, name in enumerate(LOOP_SITUATIONS):
        cells = [row.findings[place].fitness for row in rows]
        table.add_row(name, *(Text(cell, FITNESS_STYLES[cell]) for cell in cells))
    return table


def training_notes(rows: Sequence[TrainingRow]) -> list[str]:
    """Return the reasons of limits and failures, a line a variant and reason."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for finding in row.reasons:
            key = (row.label, finding.fitness, finding.reason)
            lines.setdefault(key, []).append(finding.situation)
    return [
        f"{label}: {fitness} in {', '.join(situations)}: {reason}"
        for (label, fitness, reason), situations in lines.items()
    ]


def counts_text(counts: Counter[str]) -> str:
    """Return how often each fitness was found: ``12 right, 3 limit, 0 worse``."""
    return ", ".join(f"{counts[fitness]} {fitness}" for fitness in ("right", "limit", "worse"))
