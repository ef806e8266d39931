"""Draw the figures of a training: features in the plane, and the curves of the variants."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lossbench.bench.errors import writing
from lossbench.bench.train.panels import draw_curve, draw_features, draw_gaps
from lossbench.bench.train.records import Lesson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_COLUMNS = 5
CELL_INCHES = 2.4
DPI = 100
Panel = Callable[["Axes", Lesson], None]


def draw_lesson(lesson: Lesson) -> "Figure":
    """Return the figure of one loss: its features, its objective, and the gaps of its variants."""
    from matplotlib.figure import Figure

    # A solved layout differs in its last digits from call to call, so the margins are fixed.
    figure = Figure(figsize=(13, 4.6))
    figure.subplots_adjust(left=0.02, right=0.985, bottom=0.11, top=0.86, wspace=0.16)
    left, middle, right = figure.subplots(1, 3)
    draw_features(left, lesson, large=True)
    draw_curve(middle, lesson)
    draw_gaps(right, lesson, large=True)
    name = lesson.experiment.loss
    title = name if name == lesson.objective else f"{name}, trained as {lesson.objective}"
    figure.suptitle(title, fontsize=12)
    return figure


def draw_grids(lessons: Sequence[Lesson]) -> dict[str, "Figure"]:
    """Return the figures that show losses side by side, by name; no figure without a loss."""
    if not lessons:
        return {}
    return {
        "features": _grid(
            lessons,
            draw_features,
            "Features of the test images in the plane. A digit marks the mean of its class, "
            "a cross the centre that the loss learned,\na line the direction of a class's weights. "
            "Below: the share of images that the weights, or the nearest mean, classify right.",
        ),
        "curves": _grid(
            lessons,
            draw_gaps,
            "Gap between the objective of each variant and the reference's in float64, at each "
            "step. Dark grey: rounding of the reference; light grey: allowed gap.",
        ),
    }


def _grid(lessons: Sequence[Lesson], panel: Panel, title: str) -> "Figure":
    from matplotlib.figure import Figure

    columns = min(PANEL_COLUMNS, len(lessons))
    rows = math.ceil(len(lessons) / columns)
    width, height = CELL_INCHES * columns, (CELL_INCHES + 0.3) * rows + 0.4
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=0.35 / width, right=1 - 0.1 / width, bottom=0.35 / height, top=1 - 0.6 / height,
        wspace=0.22, hspace=0.24,
    )  # fmt: skip
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for place, ax in enumerate(axes):
        if place < len(lessons):
            panel(ax, lessons[place])
        else:
            ax.set_axis_off()
    if columns > 2:
        figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    return figure


def save(figure: "Figure", folder: Path, name: str) -> None:
    """Write a figure as SVG and as PNG; the same figure gives the same bytes.

    Raises:
        UsageError: if the folder cannot be written.
    """
    import matplotlib as mpl

    with writing(folder), mpl.rc_context({"svg.hashsalt": "lossbench"}):
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
