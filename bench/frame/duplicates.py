"""Keep one row of each cell that a frame has several times."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lossbench.bench.marks import DIRTY
from lossbench.bench.run.order import Provenance, preferred

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
    import pandas as pd

    commit, processes = row["commit"], row["processes"]
    return Provenance(
        clean=not DIRTY.applies(row),
        commit="" if pd.isna(commit) else commit,
        processes=0 if pd.isna(processes) else int(processes),
        made=row["made"].isoformat(),
    )
