"""Read findings from a frame: the fastest variants, when compiling saves time, the worst errors.

Only rows of one Case and one label are compared, because one run measured them on one machine.
"""

import math
from typing import TYPE_CHECKING

from lossbench.bench.run.economics import break_even_steps
from lossbench.impls.compiled import is_compiled
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    import pandas as pd

SPEEDUP = ["step_speedup", "step_speedup_low", "step_speedup_high"]


def winners(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the fastest variant of each Case, by the rule of ``place_by_speed``.

    Each row also has ``rivals``, the names of the variants with an overlapping interval; ``eager``,
    the fastest variant that is not compiled; ``leanest``, the variant with the smallest peak; and
    ``leanest_bytes``, that peak.
    """
    timed = _timed(frame)
    won = timed.loc[timed.groupby("case")["step_speedup"].idxmax()].set_index("case")
    low = timed["case"].map(won["step_speedup_low"])
    winner = timed["case"].map(won["variant"])
    close = timed[(timed["step_speedup_high"] >= low) & (timed["variant"] != winner)]
    eager = timed[~timed["variant"].map(is_compiled).astype(bool)]
    eager = eager.loc[eager.groupby("case")["step_speedup"].idxmax()].set_index("case")
    weighed = timed.dropna(subset="step_peak_bytes")
    lean = weighed.loc[weighed.groupby("case")["step_peak_bytes"].idxmin()].set_index("case")
    return won.assign(
        rivals=close.groupby("case")["name"].agg(", ".join).reindex(won.index, fill_value=""),
        eager=eager["name"],
        leanest=lean["name"],
        leanest_bytes=lean["step_peak_bytes"],
    ).reset_index()


def _timed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows with the time of a step; the reference gets the speed-up 1.

    ``ranked_seconds`` is the reference's time over the speed-up, as in ``normal_seconds``.
    """
    timed = frame[(frame["status"] == "passed") & frame["step_seconds"].notna()]
    own = timed["variant"] == REFERENCE
    paired = timed.assign(**{name: timed[name].mask(own, 1.0) for name in SPEEDUP})
    reference = timed[own].set_index("case")["step_seconds"]
    ranked = paired["case"].map(reference) / paired["step_speedup"]
    return paired.assign(ranked_seconds=ranked.fillna(paired["step_seconds"])).dropna(
        subset="step_speedup"
    )


def break_even(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the compiled variants, each compared with the fastest eager variant of its Case.

    Each row also has ``eager``, the eager variant; ``eager_seconds``, its time of a step;
    ``steps``, the number of steps after which the compiled variant has taken less time in total,
    compile time included, infinite if it never does; and ``warm_steps``, the same number with the
    compiled code in the cache on the disk.
    """
    timed = _timed(frame)
    eager = timed[~timed["variant"].map(is_compiled).astype(bool)]
    best = eager.loc[eager.groupby("case")["step_speedup"].idxmax()].set_index("case")
    compiled = timed[timed["compile_seconds"].notna() & timed["case"].isin(best.index)]
    ranked, against = compiled["ranked_seconds"], compiled["case"].map(best["ranked_seconds"])
    return compiled.assign(
        eager=compiled["case"].map(best["name"]),
        eager_seconds=compiled["case"].map(best["step_seconds"]),
        steps=_steps_to_pay(compiled["compile_seconds"], ranked, against),
        warm_steps=_steps_to_pay(compiled["warm_compile_seconds"], ranked, against),
    )


def _steps_to_pay(*seconds: "pd.Series[float]") -> list[float]:
    """Return ``break_even_steps`` of each row, NaN where a time is missing."""
    rows = zip(*seconds, strict=True)
    return [math.nan if any(map(math.isnan, row)) else break_even_steps(*row) for row in rows]


def agreement_rows(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the row of each variant and precision that is closest to its error budget.

    Each row also has ``cells``, the number of cells in which the variant was checked, and
    ``passed``, the number of those in which it agreed.
    """
    keys = ["label", "loss", "variant", "device", "precision"]
    judged = frame.dropna(subset="worst_quantity")
    groups = judged.groupby(keys, sort=False)
    worst = judged.loc[groups["budget_share"].idxmax()].set_index(keys)
    counts = groups["status"].agg(cells="size", passed=lambda status: (status == "passed").sum())
    return worst.join(counts).reset_index()


def untimed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the reasons for missing times: one row per label, Loss, variant, status and reason."""
    keys = ["label", "loss", "variant", "device", "precision", "status", "reason"]
    missing = frame[frame["status"] != "passed"]
    return missing.groupby(keys, sort=False, dropna=False).size().rename("cells").reset_index()


def outside(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the variants from outside lossbench: one row per label, variant and origin."""
    keys = ["label", "loss", "variant", "origin"]
    return frame.dropna(subset="origin")[keys].drop_duplicates()


def growth(rows: "pd.DataFrame", axis: str) -> "pd.DataFrame":
    """Return the rows that differ only along an axis: of all such groups that with most values.

    Args:
        rows: rows of one Loss in one setting.
        axis: name of the axis, ``batch`` or ``classes``.
    """
    others = [name for name in ("batch", "dim", "classes", "seed") if name != axis]
    held = rows.groupby(others, sort=False, dropna=False).ngroup()
    spread = rows.groupby(held)[axis].nunique()
    most = held.value_counts()[spread[spread == spread.max()].index]
    return rows[held == most.idxmax()].sort_values(axis)


def front(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of one Case that no other row beats in both time and memory, by time."""
    by_time = rows.sort_values(["step_seconds", "step_peak_bytes"])
    least = by_time["step_peak_bytes"].cummin().shift()
    return by_time[least.isna() | (by_time["step_peak_bytes"] < least)]


def main_case(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows of the first Case with the largest number of timed variants."""
    counts = rows[rows["step_seconds"].notna()].groupby("case", sort=False).size()
    return rows[rows["case"] == counts.idxmax()] if len(counts) else rows.iloc[:0]
