"""Keep one row of each cell that a frame has several times."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lossbench.bench.marks import DIRTY, UNCHECKED
from lossbench.bench.run.order import Provenance, preferred
from lossbench.bench.timing.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd


def without_duplicates(frame: "pd.DataFrame", keys: Sequence[str]) -> "pd.DataFrame":
    """Return a frame with one row of each cell: the one that ``preferred`` chooses.

    Args:
        frame: frame of ``lossbench.load``, or some rows of it.
        keys: columns that identify a cell.
    """
    several = frame[frame.duplicated(list(keys), keep=False)]
    dropped: list[int] = []
    for places in several.groupby(list(keys), sort=False, dropna=False).groups.values():
        origins = {int(place): _provenance(several.loc[place].to_dict()) for place in places}
        kept = preferred(list(origins), origins.__getitem__)
        dropped += [place for place in origins if place != kept]
    return frame.drop(index=dropped)


def _provenance(row: Mapping[Any, Any]) -> Provenance:
    return Provenance(
        clean=not DIRTY.applies(row),
        validated=not UNCHECKED.applies(row),
        processes=int(_known(row["processes"], 0)),
        half_width=_half_width(row),
        elsewhere=_known(row["elsewhere"], 0.0),
        made=row["made"].isoformat(),
    )


def _half_width(row: Mapping[Any, Any]) -> float:
    low, high = (_known(row[f"step_speedup_{end}"], 0.0) for end in ("low", "high"))
    return Interval(low, low, high).half_width


def _known(value: Any, missing: float) -> float:
    import pandas as pd

    return missing if pd.isna(value) else float(value)
