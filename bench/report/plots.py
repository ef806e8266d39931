"""Draw the plots of a Loss in a report."""

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lossbench.bench.format import binary, si
from lossbench.bench.report.findings import front
from lossbench.bench.report.style import INK, look
from lossbench.bench.run.order import variant_order

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.4
GROWTH_STEPS = (1, 10_000_000)
LIMIT: dict[str, Any] = {"color": INK, "linestyle": (0, (1, 3))}
# In powers of ten; a shorter axis would have no tick.
LEAST_SPREAD = 0.75


def curves(rows: "pd.DataFrame", axis: str) -> "Figure":
    """Return a figure of time, memory and error of the variants against one size.

    Args:
        rows: rows of one Loss in one setting; they differ only in this size and the variant.
        axis: size on the x axis, ``batch`` or ``classes``.
    """
    figure, panels = _stack(3, rows, limited=bool(rows["limit_seconds"].notna().any()))
    sizes = sorted(rows[axis].unique())
    for panel, (column, unit) in zip(
        panels, (("step_seconds", "s"), ("step_peak_bytes", "B"), ("error", "")), strict=True
    ):
        for variant, line in _lines(rows.dropna(subset=column)):
            kept = line[line[column] > 0]
            bars = _time_bars(kept) if column == "step_seconds" else None
            x, y = _floats(kept[axis]), _floats(kept[column])
            panel.errorbar(x, y, yerr=bars, capsize=2, **look(variant, list(rows["variant"])))
        _log_scales(panel, sizes, unit)
    limits = rows.dropna(subset="limit_seconds").groupby(axis)["limit_seconds"].min()
    if len(limits):
        panels[0].plot(_floats(limits.index), limits, **LIMIT)
    for panel, title in zip(panels, ("time of a step", "peak memory", "error"), strict=True):
        panel.set_title(title, loc="left")
    panels[-1].set_xlabel(f"{axis} ({_held(rows, axis)})")
    return figure


def trade(rows: "pd.DataFrame", compiled: "pd.DataFrame") -> "Figure":
    """Return a figure of time against memory in one Case, and of when compiling pays off.

    Args:
        rows: rows of the Case.
        compiled: rows of its compiled variants, from ``break_even``.
    """
    figure, panels = _stack(2 if len(compiled) else 1, rows, limited=False)
    _pareto(panels[0], rows)
    panels[0].set_title(f"time against memory ({_held(rows, '')})", loc="left")
    if len(compiled):
        _worth(panels[1], compiled)
        panels[1].set_title("total time over the fastest eager variant's", loc="left")
    return figure


def _pareto(panel: "Axes", rows: "pd.DataFrame") -> None:
    timed = rows.dropna(subset=["step_seconds", "step_peak_bytes"])
    best = front(timed)
    x, y = _floats(best["step_seconds"]), _floats(best["step_peak_bytes"])
    panel.step(x, y, where="post", color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    for variant, line in _lines(timed):
        x, y = _floats(line["step_seconds"]), _floats(line["step_peak_bytes"])
        bars = _time_bars(line)
        panel.errorbar(x, y, xerr=bars, capsize=2, **look(variant, list(rows["variant"])))
    panel.set(xscale="log", yscale="log", xlabel="time of a step", ylabel="peak memory")
    _readable(panel.xaxis, _seconds)
    _readable(panel.yaxis, _bytes)


def _worth(panel: "Axes", compiled: "pd.DataFrame") -> None:
    import numpy as np

    steps = np.geomspace(*GROWTH_STEPS, 60)
    rows: Iterable[Any] = compiled.itertuples()
    for row in rows:
        spent = (row.compile_seconds + steps * row.step_seconds) / (steps * row.eager_seconds)
        style = look(row.variant, list(compiled["variant"]))
        panel.plot(steps, spent, **{**style, "marker": ""})
        if row.steps < GROWTH_STEPS[1]:
            panel.plot([row.steps], [1.0], **style)
    panel.axhline(1, color=INK, linewidth=0.8)
    panel.set(xscale="log", yscale="log", xlabel="steps", ylabel="ratio", ylim=(0.2, 30))
    _readable(panel.xaxis, lambda value: si(value, ""))
    _readable(panel.yaxis, lambda value: f"{value:g}×")


def _stack(count: int, rows: "pd.DataFrame", *, limited: bool) -> "tuple[Figure, list[Axes]]":
    """Return a figure with panels one above the other, and the legend of the variants below."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    shown = [v for v in variant_order(rows["variant"]) if v in set(rows["variant"])]
    legend = 0.17 * ((len(shown) + limited + 1) // 2) + 0.3
    panel, gap = (1.75, 0.45) if count == 3 else (2.4, 0.75)
    height = count * panel + count * gap + 0.1 + legend
    figure = Figure(figsize=(WIDTH, height))
    tops = [0.3 + number * (panel + gap) for number in range(count)]
    panels = [
        figure.add_axes(
            (0.7 / WIDTH, 1 - (top + panel) / height, (WIDTH - 0.85) / WIDTH, panel / height)
        )
        for top in tops
    ]
    names = rows.set_index("variant")["name"]
    lines = [Line2D([], [], label=max(names[[v]]), **look(v, shown)) for v in shown]
    if limited:
        lines.append(Line2D([], [], label="limit of this machine", **LIMIT))
    figure.legend(handles=lines, loc="lower left", ncols=2, fontsize=7, handlelength=3)
    return figure, panels


def _lines(rows: "pd.DataFrame") -> "Iterable[tuple[str, pd.DataFrame]]":
    return ((str(variant), line) for variant, line in rows.groupby("variant", sort=False))


def _time_bars(line: "pd.DataFrame") -> Any:
    """Return the error bars of the times, down and up: the speed-up's interval as a time."""
    import numpy as np

    seconds, speedup = line["step_seconds"], line["step_speedup"]
    down = seconds * (1 - speedup / line["step_speedup_high"])
    up = seconds * (speedup / line["step_speedup_low"] - 1)
    return np.nan_to_num(np.array([down.to_numpy(), up.to_numpy()]), posinf=0.0).clip(min=0)


def _log_scales(panel: "Axes", sizes: list[int], unit: str) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator(sizes))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set_yscale("log")
    _readable(panel.yaxis, {"s": _seconds, "B": _bytes}.get(unit, "{:.0e}".format))
    panel.grid(visible=True, axis="y", alpha=0.2, color=INK, linewidth=0.5)


def _readable(axis: Any, words: Callable[[float], str]) -> None:
    """Give a logarithmic axis a few ticks with units, even if the axis is short."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    spread = math.log10(high / low)
    if spread < LEAST_SPREAD:
        reach = 10 ** ((LEAST_SPREAD - spread) / 2)
        axis.set_view_interval(low / reach, high * reach, ignore=True)
    subs = (1, 2, 5) if spread < 1.5 else (1, 3) if spread < 3 else (1,)
    base = 2 if words is _bytes else 10
    axis.set_major_locator(LogLocator(base, (1,) if base == 2 else subs, numticks=6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: words(value) if value > 0 else "")
    axis.set_minor_formatter(NullFormatter())


def _seconds(value: float) -> str:
    return si(value, "s")


def _bytes(value: float) -> str:
    return binary(round(value))


def _held(rows: "pd.DataFrame", axis: str) -> str:
    """Return the sizes that all rows share, as text, without the size of the axis."""
    first = rows.iloc[0]
    shown = {"batch": "B", "dim": "D", "classes": "C"}
    return ", ".join(f"{letter}={first[name]}" for name, letter in shown.items() if name != axis)


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]
