"""The heat map of speed-ups: every Loss by every variant, at one size and setting."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.bench.marks import FEW_PROCESSES
from lossbench.bench.report.legend import SYMBOLS
from lossbench.bench.report.style import INK
from lossbench.bench.run.order import variant_order
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_GRIDS = 12
SIZE = ["device", "precision", "data", "batch", "dim", "classes", "seed"]
FILLS = {"faster": "#8fc1e3", "slower": "#f2b56b", "same": "#d9dde2", REFERENCE: "#eef0f2"}
DARK = "#111418"


@dataclass(frozen=True)
class Grid:
    """The cells of one size and setting, for every Loss, variant and label.

    Attributes:
        words: size and setting, as text.
        rows: rows of the frame.
    """

    words: str
    rows: "pd.DataFrame"

    @property
    def variants(self) -> list[str]:
        """The variants of all labels together, in order, so that all tables have the same columns.

        A label without a variant has empty cells there.
        """
        there = set(self.rows["variant"])
        return [variant for variant in variant_order(there) if variant in there]


def grids(frame: "pd.DataFrame") -> list[Grid]:
    """Return the heat maps of a frame, for the sizes with the most cells, the most first."""
    size = frame.groupby(SIZE, sort=False, dropna=False).ngroup()
    most = size.value_counts().index[:MOST_GRIDS]
    return [Grid(_words(rows), rows) for rows in (frame[size == number] for number in most)]


def _words(rows: "pd.DataFrame") -> str:
    first = rows.iloc[0]
    seed = f", seed {first['seed']}" if first["seed"] else ""
    return f"{first['size']}, {first['precision']}, {first['device']}, {first['data']}{seed}"


def overview(rows: "pd.DataFrame", title: str) -> "Figure":
    """Return a heat map of one label, with speed-up, interval and verdict in each cell.

    Args:
        rows: rows of one size and setting.
        title: title of the plot.
    """
    from matplotlib.figure import Figure

    variants = Grid("", rows).variants
    losses = list(rows["loss"].unique())
    width, height = 2 + len(variants), len(losses) + 2.4
    figure = Figure(figsize=(0.95 * width, 0.36 * height))
    panel = figure.add_axes((0, 0, 1, 1))
    panel.set(xlim=(-2, len(variants)), ylim=(len(losses) + 0.1, -2.3))
    panel.axis("off")
    panel.text(-1.95, -2, title, fontsize=10, weight="bold", va="center")
    for column, variant in enumerate(variants):
        name = variant.replace("+", "\n+").replace("[", "\n[")
        panel.text(column + 0.5, -0.1, name, ha="center", va="bottom", fontsize=7)
    for line, loss in enumerate(losses):
        panel.text(-0.08, line + 0.5, loss, ha="right", va="center")
    for row in rows.itertuples():
        _cell(panel, variants.index(str(row.variant)), losses.index(str(row.loss)), row)
    return figure


def _cell(panel: "Axes", column: int, line: int, row: Any) -> None:
    from matplotlib.patches import Rectangle

    verdict = row.verdict if row.status == "passed" and isinstance(row.verdict, str) else ""
    figures = verdict not in ("", REFERENCE)
    box = Rectangle(
        (column + 0.03, line + 0.05), 0.94, 0.9, facecolor=FILLS.get(verdict, "none"),
        edgecolor="#8a929c", linewidth=0.5, linestyle="-" if verdict in FILLS else ":",
    )  # fmt: skip
    panel.add_patch(box)
    # A filled box is light in every theme, so its text must not follow the theme's ink.
    style: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "color": DARK if verdict in FILLS else INK,
    }
    words = SYMBOLS[verdict] if verdict else row.status
    if figures:
        words += f" {row.step_speedup:.3g}×{row.name.removeprefix(row.variant)}"
        few = FEW_PROCESSES.sign * FEW_PROCESSES.applies({"processes": row.processes})
        interval = f"{row.step_speedup_low:.3g} to {row.step_speedup_high:.3g}{few}"
        panel.text(column + 0.5, line + 0.73, interval, fontsize=6, **style)
    panel.text(column + 0.5, line + (0.36 if figures else 0.5), words, **style)
