"""Print which implementations are right on which release of torch."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from lossbench.bench.compat.proof import CompatProof, Standing
from lossbench.bench.compat.table import CompatTable

STANDING_STYLES = {"right": "green", "wrong": "red", "unsupported": "yellow", "departs": "dim"}
STANDING_MEANINGS: dict[Standing, str] = {
    "right": "keeps the contract, agrees with the definition and gives the golden vectors",
    "wrong": "raises an error, or gives something else",
    "unsupported": "refused, with the reason",
    "departs": "declared not equal to the loss, and not tried",
}


def compat_table(table: CompatTable, loss: str) -> Table:
    """Return the table of a Loss: a row per variant, a column per torch."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("variant", overflow="fold")
    for column in table.columns:
        shown.add_column(column.heading, no_wrap=True)
    for variant, proofs in table.rows_of(loss).items():
        shown.add_row(Text(variant), *map(_cell, proofs))
    return shown


def _cell(proof: CompatProof | None) -> Text:
    return Text(proof.standing, STANDING_STYLES[proof.standing]) if proof else Text("-", "dim")


def compat_notes(table: CompatTable, loss: str) -> list[str]:
    """Return the reasons of all that is not right, a line a variant and reason."""
    lines: dict[tuple[str, str], list[str]] = {}
    for variant, proofs in table.rows_of(loss).items():
        for column, proof in zip(table.columns, proofs, strict=True):
            if proof and proof.reason:
                lines.setdefault((variant, _reason(proof)), []).append(column.heading)
    return [f"{variant}, torch {', '.join(on)}: {why}" for (variant, why), on in lines.items()]


def _reason(proof: CompatProof) -> str:
    at = f" at {proof.smallest}" if proof.smallest else ""
    return f"{proof.standing}{at}: {proof.reason}"


def compat_counts(table: CompatTable) -> Iterator[str]:
    """Yield how often each standing was found, a line a column."""
    for column in table.columns:
        counts = (column.counts(foreign=foreign) for foreign in (False, True))
        own, foreign = (
            ", ".join(f"{count[standing]} {standing}" for standing in STANDING_MEANINGS)
            for count in counts
        )
        torch = f"torch {column.environment.torch} ({column.device}, {column.architecture})"
        yield f"{torch}: lossbench's own: {own}; third parties': {foreign}"
