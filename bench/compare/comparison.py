"""Compare two measurements of the same cells, and find the changes that noise does not explain.

The load of a machine differs between runs, so absolute times of two runs cannot be compared. The
speed-up of a variant over the reference can be, because both were timed in the same rounds. If the
reference itself became slower, the variants therefore look faster. Speed-ups of two machines cannot
be compared either: they and the times are shown side by side, without a verdict. Two machines
differ in the name or in the hardware: the processor, the number of cores, the number of threads.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossbench.bench.case.cases import DTYPES
from lossbench.bench.compare.doubts import Host, doubts, hosts_of, left_out
from lossbench.bench.frame.columns import CASE_COLUMNS
from lossbench.bench.frame.duplicates import without_duplicates
from lossbench.bench.measure.agreement import FACTOR, rounding_band
from lossbench.bench.metrics import compared
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.05
CELL = ["source", *CASE_COLUMNS, "variant"]
HOST = ["machine", "hardware"]
# Exactly one figure, because the columns of ratios are for one.
(SPEEDUP,) = (metric.name for metric in compared("speedup"))
LOW, HIGH = f"{SPEEDUP}_low", f"{SPEEDUP}_high"
BYTES, ERRORS = compared("bytes"), compared("error")
KINDS = {
    "slower": "the speed-up fell: the intervals do not overlap, and the medians differ by more "
    "than the margin",
    "faster": "the speed-up rose, by the same rule",
    "bigger": f"more bytes: {' or '.join(metric.label for metric in BYTES)}",
    "smaller": "fewer bytes in at least one of these, and more in none",
    "less-exact": f"the error is more than {FACTOR:g} times the first one, plus a rounding",
    "more-exact": "the error fell, by the same rule",
    "broken": "it passed in the first only",
    "mended": "it passed in the second only",
    "status": "it has times in neither, and the status differs",
    "vanished": "only the first has such a cell",
    "appeared": "only the second has such a cell",
}


@dataclass(frozen=True)
class Comparison:
    """The comparison of two measurements.

    Attributes:
        cells: frame with one row per cell of either measurement, and the columns of both with
            ``_first`` and ``_second``; ``ratio`` is the second speed-up over the first,
            ``ratio_low`` and ``ratio_high`` are its bounds from the ends of both intervals, and all
            three are missing if the machines differ; one boolean column for each of ``KINDS``.
        machines: names of the machines that made both with the same hardware; empty if there are
            none, and then times are not compared.
        left_out: records that are not compared, one line per reason.
        notes: other reasons for doubt, one line each: mixtures, and names of several machines.
    """

    cells: "pd.DataFrame"
    machines: frozenset[str]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def timed(self) -> "pd.DataFrame":
        """The cells, other than the reference, that were timed in both."""
        names = [f"{SPEEDUP}_first", f"{SPEEDUP}_second"]
        return self.cells[self.cells["variant"] != REFERENCE].dropna(subset=names)

    @property
    def overlapping(self) -> "pd.Series[bool]":
        """Whether the intervals of each cell of ``timed`` overlap."""
        timed = self.timed
        return (timed[f"{LOW}_first"] <= timed[f"{HIGH}_second"]) & (
            timed[f"{LOW}_second"] <= timed[f"{HIGH}_first"]
        )

    def of(self, kind: str) -> "pd.DataFrame":
        """Return the cells of one of ``KINDS``."""
        return self.cells[self.cells[kind]]


def compare(first: "pd.DataFrame", second: "pd.DataFrame", margin: float = MARGIN) -> Comparison:
    """Return the changes from a frame of ``lossbench.load`` to another.

    Only records of the same machine and hardware are compared. If a frame has a cell several times,
    the record counts that ``preferred`` chooses.

    Args:
        first: earlier measurement, or the baseline.
        second: later measurement.
        margin: relative difference up to which speed-ups count as equal.
    """
    hosts = frozenset(hosts_of(first)) & frozenset(hosts_of(second))
    keys = [*HOST, *CELL] if hosts else CELL
    chosen = [_chosen(frame, keys, hosts) for frame in (first, second)]
    cells = chosen[0].merge(
        chosen[1], on=keys, how="outer", sort=False, suffixes=("_first", "_second"),
        indicator="side",
    )  # fmt: skip
    cells["vanished"], cells["appeared"] = (
        cells["side"] == "left_only",
        cells["side"] == "right_only",
    )
    _judge_status(cells)
    _judge_bytes(cells)
    _judge_errors(cells)
    found = Comparison(
        cells,
        frozenset(machine for machine, _ in hosts),
        tuple(left_out((first, second), chosen)),
        tuple(doubts((first, second))),
    )
    _judge_times(found, margin)
    return found


def _chosen(frame: "pd.DataFrame", keys: list[str], hosts: Collection[Host]) -> "pd.DataFrame":
    """Return the row that counts of each cell, of the hosts if there are any."""
    if hosts:
        frame = frame[[host in hosts for host in hosts_of(frame)]]
    return without_duplicates(frame, keys)


def _judge_status(cells: "pd.DataFrame") -> None:
    both = cells["side"] == "both"
    # A cell of one side only has no status on the other.
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
