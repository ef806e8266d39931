"""Say which records a comparison leaves out, and what else raises doubts about it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lossbench.bench.marks import DIRTY
from lossbench.bench.run.mixture import mixture_of

if TYPE_CHECKING:
    import pandas as pd

Host = tuple[str, str]
SIDES = ("first", "second")
SETTING = ("commit", "torch", "cpu", "gpu", "threads")


def hosts_of(frame: "pd.DataFrame") -> list[Host]:
    """Return the machine and the hardware of each row; a tool may store neither."""
    return list(zip(frame["machine"].fillna(""), frame["hardware"].fillna(""), strict=True))


def left_out(frames: Sequence["pd.DataFrame"], chosen: Sequence["pd.DataFrame"]) -> Iterator[str]:
    """Yield one line for each reason why records of the two frames are not among the chosen."""
    for side, frame, kept in zip(SIDES, frames, chosen, strict=True):
        out, hosts = frame.drop(index=kept.index), set(hosts_of(kept))
        counts: dict[str, int] = {}
        for row, host in zip(out.to_dict("records"), hosts_of(out), strict=True):
            if host not in hosts:
                why = f"of {host[0]} ({host[1] or 'unknown hardware'}), which made only the {side}"
            elif DIRTY.applies(row):
                why = f"of uncommitted code in the {side}, beside clean ones"
            else:
                why = f"in the {side}, beside better or later ones"
            counts[why] = counts.get(why, 0) + 1
        yield from (f"{count} records {why}" for why, count in counts.items())


def doubts(frames: Iterable["pd.DataFrame"]) -> Iterator[str]:
    """Yield one line for each run that is a mixture, and for each name of several machines."""
    import pandas as pd

    both = pd.concat(frames)
    for run, rows in both.groupby("run", sort=False):
        mixture = mixture_of(_settings(rows))
        if mixture:
            yield f"{run} is {mixture}"
    for machine, rows in both.groupby("machine", sort=False):
        for kind in ("cpu", "gpu"):
            models = [model for model in rows[kind].dropna().unique() if model]
            if len(models) > 1:
                yield f"the name {machine} stands for several machines: {'; '.join(models)}"


def _settings(rows: "pd.DataFrame") -> list[dict[str, str]]:
    known = rows[[*SETTING, "dirty"]].drop_duplicates().to_dict("records")
    marked = [
        {**row, "commit": f"{str(row['commit'])[:12]}{DIRTY.sign * DIRTY.applies(row)}"}
        for row in known
    ]
    return [{name: str(row[name]) for name in SETTING} for row in marked]
