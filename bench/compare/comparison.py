"""Two measurements of the same cells: what has changed, beyond what noise explains.

Absolute times of two runs cannot be compared, since a machine is not equally busy in both; what can
is the speed-up of a variant over the reference, which was timed in the same rounds. A reference
that has itself become slower therefore looks like variants that have become faster. Speed-ups of
two machines are not comparable either: they and the times are shown side by side, and not judged.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossbench.bench.case.cases import DTYPES
from lossbench.bench.frame.columns import CASE_COLUMNS
from lossbench.bench.measure.agreement import FACTOR, rounding_band
from lossbench.bench.metrics import compared
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.05
CELL = ["source", *CASE_COLUMNS, "variant"]
# One figure alone: its ratios have columns of their own.
(SPEEDUP,) = (metric.name for metric in compared("speedup"))
LOW, HIGH = f"{SPEEDUP}_low", f"{SPEEDUP}_high"
BYTES, ERRORS = compared("bytes"), compared("error")
KINDS = {
    "slower": "its speed-up fell: the intervals have no point in common, and the medians differ "
    "by more than the margin",
    "faster": "the same, and it rose",
    "bigger": f"more bytes: {' or '.join(metric.label for metric in BYTES)}",
    "smaller": "fewer bytes in one, more in none",
    "less-exact": f"its error is beyond {FACTOR:g} times what it was, and a rounding",
    "more-exact": "the same the other way round",
    "broken": "it passed, and no longer does",
    "mended": "it passes, and did not",
    "status": "it has no times in either, for another status",
    "vanished": "the second has no such cell",
    "appeared": "the first has none",
}


@dataclass(frozen=True)
class Comparison:
    """What two measurements say of the same cells.

    Attributes:
        cells: a row a cell of either, the columns of both with ``_first`` and ``_second``;
            ``ratio`` of the speed-ups, second over first, ``ratio_low`` and ``ratio_high`` as far
            as the intervals' ends allow, missing where machines differ; a column of truth for each
            of ``KINDS``.
        machines: those that measured both; empty where none did, and times are not judged.
    """

    cells: "pd.DataFrame"
    machines: frozenset[str]

    @property
    def timed(self) -> "pd.DataFrame":
        """The cells, other than the reference, that were timed in both."""
        names = [f"{SPEEDUP}_first", f"{SPEEDUP}_second"]
        return self.cells[self.cells["variant"] != REFERENCE].dropna(subset=names)

    @property
    def overlapping(self) -> "pd.Series[bool]":
        """Which of these have intervals with a point in common."""
        timed = self.timed
        return (timed[f"{LOW}_first"] <= timed[f"{HIGH}_second"]) & (
            timed[f"{LOW}_second"] <= timed[f"{HIGH}_first"]
        )

    def of(self, kind: str) -> "pd.DataFrame":
        """Return the cells of one of ``KINDS``."""
        return self.cells[self.cells[kind]]


def compare(first: "pd.DataFrame", second: "pd.DataFrame", margin: float = MARGIN) -> Comparison:
    """Return what has changed from a frame of ``lossbench.load`` to another.

    Of a cell that a frame holds several times the latest counts.

    Args:
        first: the earlier, or the baseline.
        second: the later.
        margin: how far speed-ups may differ, relative, and still count as equal.
    """
    machines = frozenset(first["machine"]) & frozenset(second["machine"])
    keys = ["machine", *CELL] if machines else CELL
    cells = _latest(first, keys).merge(
        _latest(second, keys), on=keys, how="outer", sort=False, suffixes=("_first", "_second"),
        indicator="side",
    )  # fmt: skip
    cells["vanished"], cells["appeared"] = (
        cells["side"] == "left_only",
        cells["side"] == "right_only",
    )
    _judge_status(cells)
    _judge_bytes(cells)
    _judge_errors(cells)
    found = Comparison(cells, machines)
    _judge_times(found, margin)
    return found


def _latest(frame: "pd.DataFrame", keys: list[str]) -> "pd.DataFrame":
    return frame.sort_values("made", kind="stable").drop_duplicates(keys, keep="last")


def _judge_status(cells: "pd.DataFrame") -> None:
    both = cells["side"] == "both"
    # What stands on one side only has no status on the other.
    first, second = (cells[f"status_{side}"].fillna("") for side in ("first", "second"))
    changed = both & (first != second)
    cells["broken"] = changed & (first == "passed")
    cells["mended"] = changed & (second == "passed")
    cells["status"] = changed & ~cells["broken"] & ~cells["mended"]


def _judge_bytes(cells: "pd.DataFrame") -> None:
    grown = [cells[f"{m.name}_second"] - cells[f"{m.name}_first"] for m in BYTES]
    more, fewer = (
        sum(((sign * change).fillna(0) > 0).astype(int) for change in grown) for sign in (1, -1)
    )
    cells["bigger"] = more > 0
    cells["smaller"] = (fewer > 0) & (more == 0)


def _judge_errors(cells: "pd.DataFrame") -> None:
    bands = cells["dtype"].map({name: rounding_band(dtype) for name, dtype in DTYPES.items()})
    cells["less-exact"] = cells["more-exact"] = False
    for metric in ERRORS:
        first, second = (cells[f"{metric.name}_{side}"] for side in ("first", "second"))
        cells["less-exact"] |= second > FACTOR * first + bands
        cells["more-exact"] |= first > FACTOR * second + bands


def _judge_times(found: Comparison, margin: float) -> None:
    cells, timed = found.cells, found.timed
    for name in ("ratio", "ratio_low", "ratio_high"):
        cells[name] = float("nan")
    cells["slower"] = cells["faster"] = False
    if not found.machines:
        return
    ratio = timed[f"{SPEEDUP}_second"] / timed[f"{SPEEDUP}_first"]
    apart = ~found.overlapping
    cells.loc[timed.index, "ratio"] = ratio
    cells.loc[timed.index, "ratio_low"] = timed[f"{LOW}_second"] / timed[f"{HIGH}_first"]
    cells.loc[timed.index, "ratio_high"] = timed[f"{HIGH}_second"] / timed[f"{LOW}_first"]
    cells.loc[timed.index, "slower"] = apart & (ratio < 1 / (1 + margin))
    cells.loc[timed.index, "faster"] = apart & (ratio > 1 + margin)
