"""Measure the live memory over a step: bytes by the operator that took them, the peak, a plot.

torch's own ``export_memory_timeline`` is deprecated. It guesses the purpose of each tensor (input,
gradient, parameter) from Python stacks, and recording those makes a step many times slower.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench.bench.format import binary
from lossbench.bench.profile.recording import BACKWARD, FORWARD
from lossbench.bench.profile.trace import Span, Trace, short_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

# These operators take a buffer for the operator that calls them.
ALLOCATING = ("aten::empty", "aten::new_empty", "aten::resize_")
MOST_NAMES = 8
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
OTHERS, BEFORE = "others", "the steps before"


@dataclass(frozen=True)
class Peak:
    """The moment of a step at which most memory is live.

    Attributes:
        moment_ns: time of the peak since the start of the step, in nanoseconds.
        bytes: live bytes above those before the step.
        phase: ``forward`` or ``backward``.
        operator: name of the operator that ran.
        holders: live bytes by the operator that took them, the most first; negative for memory
            of earlier steps that was released.
    """

    moment_ns: int
    bytes: int
    phase: str
    operator: str
    holders: dict[str, int]


def live_bytes(trace: Trace, step: Span) -> "pd.DataFrame":
    """Return the live bytes after each change of memory in a step, above those before the step.

    The index is the time in nanoseconds since the start of the step. The first column is memory
    that was taken before the step; it becomes negative when that is released. Then follows a column
    for each operator that took memory, in the order in which they first took some.
    """
    import pandas as pd

    takers: dict[int, str] = {}
    rows = [(0, BEFORE, 0)]
    for change in trace.changes_in(step):
        if change.bytes > 0:
            takers[change.address] = _taker(step.path_at(change.moment_ns))
        taker = takers.get(change.address, BEFORE)
        rows.append((change.moment_ns - step.start_ns, taker, change.bytes))
    changes = pd.DataFrame(rows, columns=["moment_ns", "operator", "bytes"])
    names = changes["operator"].unique()
    live = changes.pivot(columns="operator", values="bytes")[names].fillna(0).cumsum()
    return live.astype("int64").set_index(changes["moment_ns"])


def peak_of(live: "pd.DataFrame", step: Span) -> Peak:
    """Return the peak of the live memory in a step."""
    total = live.sum(axis="columns").to_numpy()
    row = int(total.argmax())
    moment = int(live.index[row])
    path = step.path_at(step.start_ns + moment)
    held = live.iloc[row].sort_values(ascending=False, kind="stable")
    return Peak(
        moment_ns=moment,
        bytes=int(total[row]),
        phase=path[1].name if len(path) > 1 else "",
        operator=_taker(path),
        holders={str(name): int(count) for name, count in held.items() if count},
    )


def plot_live(live: "pd.DataFrame", step: Span, title: str, file: Path) -> None:
    """Draw the live memory over a step, stacked by operator, with the phases and the peak."""
    from matplotlib.figure import Figure

    peak, seconds = peak_of(live, step), 1e-9 * (step.end_ns - step.start_ns)
    unit = binary(peak.bytes).split()[1]
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.subplots()
    # Memory that the step releases for earlier steps is live at its start, so it is added.
    held = -int(live[BEFORE].min())
    live = live.assign(**{BEFORE: live[BEFORE] + held})
    _stack(axes, _few(live) / UNITS[unit], 1e3 * seconds)
    _mark_phases(axes, step)
    axes.annotate(
        f"{binary(peak.bytes)} in {peak.operator}",
        (1e-6 * peak.moment_ns, (held + peak.bytes) / UNITS[unit]),
        (0, 16),
        textcoords="offset points",
        ha="center",
        arrowprops={"arrowstyle": "-|>"},
    )
    axes.set(title=title, xlabel="ms since start of step, profiled", ylabel=f"live memory, {unit}")
    axes.set(xlim=(0, 1e3 * seconds), ylim=(0, 1.2 * (held + peak.bytes) / UNITS[unit]))
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), title="taken by", frameon=False)
    figure.savefig(file)


def _stack(axes: "Axes", live: "pd.DataFrame", milliseconds: float) -> None:
    """Draw the columns stacked, from the start of the step to its end."""
    import matplotlib

    colours = matplotlib.color_sequences["petroff10"]
    axes.stackplot(
        [*(1e-6 * live.index), milliseconds],
        [[*live[name], live[name].iloc[-1]] for name in live],
        labels=[str(name) for name in live],
        colors=["silver" if name == OTHERS else colours[i] for i, name in enumerate(live)],
        step="post",
    )


def _taker(path: list[Span]) -> str:
    """Return the innermost operator of a path that takes memory for itself."""
    names = [span.name for span in path if not span.name.startswith(ALLOCATING)]
    return short_name(names[-1])


def _few(live: "pd.DataFrame") -> "pd.DataFrame":
    """Return the columns with the largest maxima, and the sum of all others."""
    largest = live.max()
    most = largest[largest > 0].nlargest(MOST_NAMES).index
    others = live.drop(columns=most).sum(axis="columns")
    return live[most].assign(**{OTHERS: others}) if others.any() else live[most]


def _mark_phases(axes: "Axes", step: Span) -> None:
    for phase in step.children:
        if phase.name in (FORWARD, BACKWARD):
            start, end = (1e-6 * (ns - step.start_ns) for ns in (phase.start_ns, phase.end_ns))
            axes.axvline(start, color="grey", linestyle=":", linewidth=1)
            axes.axvline(end, color="grey", linestyle=":", linewidth=1)
            axes.text(
                (start + end) / 2, 0.98, phase.name, ha="center", va="top",
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
