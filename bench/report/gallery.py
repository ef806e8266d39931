"""Choose and draw the plots of a report: a few for every Loss, however many records there are."""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossbench.bench.report import findings, plots
from lossbench.bench.report.overview import grids, overview
from lossbench.bench.report.style import SETTINGS, png, svg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Drawing a plot takes about a third of a second, so their number is limited.
MOST_PLOTS = 60
SETTING = ["loss", "label", "device", "precision", "data"]


@dataclass(frozen=True)
class Plot:
    """A drawn plot.

    Attributes:
        name: name of its files, without the suffix.
        caption: caption of the plot.
        loss: name of the Loss; empty for a plot of all Losses.
        label: short name of the run.
        device: ``cpu`` or ``cuda``.
        precision: dtype, with ``autocast`` if it was used.
        svg: SVG with a transparent background.
        png: PNG with a white background.
    """

    name: str
    caption: str
    loss: str
    label: str
    device: str
    precision: str
    svg: str
    png: bytes

    @property
    def uri(self) -> str:
        """The SVG as a data URI."""
        return f"data:image/svg+xml;base64,{b64encode(self.svg.encode()).decode()}"


def draw(frame: "pd.DataFrame") -> list[Plot]:
    """Return the plots of a report: the overview of each label, then those of each Loss."""
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        return [*_overviews(frame), *_plots_of_losses(frame)]


def _overviews(frame: "pd.DataFrame") -> Iterator[Plot]:
    for grid in grids(frame)[:1]:
        for label, rows in grid.rows.groupby("label", sort=False):
            figure = overview(rows, f"speed-up of a step: {label}, {grid.words}")
            first = rows.iloc[0]
            where = (str(label), first["device"], first["precision"])
            yield _plot(figure, "overview", grid.words, ("", *where))


def _plots_of_losses(frame: "pd.DataFrame") -> Iterator[Plot]:
    timed = frame[frame["step_seconds"].notna()]
    a_loss = max(1, MOST_PLOTS // max(1, 3 * timed["loss"].nunique()))
    compiled = findings.break_even(frame)
    for _, rows in timed.groupby("loss", sort=False):
        settings = rows.groupby(SETTING, sort=False)
        traded = set[tuple[str, str]]()
        for key in settings.size().sort_values(ascending=False, kind="stable").index[:a_loss]:
            setting = settings.get_group(key)
            loss, label, device, precision, data = key
            where, there = (loss, label, device, precision), f"{device}, {precision}, {data}"
            for axis in ("batch", "classes"):
                line = findings.growth(setting, axis)
                if line[axis].nunique() > 1:
                    caption = f"against {axis}: {there}"
                    yield _plot(plots.curves(line, axis), axis, caption, where)
            if (label, device) not in traded:
                traded.add((label, device))
                case = findings.main_case(setting)
                paid = compiled[compiled["case"].isin(case["case"])]
                yield _plot(plots.trade(case, paid), "trade", f"time and memory: {there}", where)


def _plot(figure: "Figure", kind: str, caption: str, where: tuple[str, str, str, str]) -> Plot:
    loss, label, device, precision = where
    parts = [part for part in (loss, kind, device, precision, label) if part]
    name = ".".join(re.sub(r"[^\w.-]+", "-", part) for part in parts)
    return Plot(name, caption, *where, svg(figure), png(figure))
