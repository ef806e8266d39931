"""The order and the names in which a report shows what a frame holds."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench.bench.case.cases import Case
from lossbench.bench.frame.columns import CASE_COLUMNS
from lossbench.bench.run.order import place_of_case, place_of_variant

if TYPE_CHECKING:
    import pandas as pd


def ordered(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a frame in the order of the catalogue, with columns to show it by.

    ``label`` is a run's short name; ``precision`` the dtype, and whether it is autocast's; ``size``
    the sizes in words; ``case`` a number, one for each Case of a label. Of a cell that a run holds
    twice the last is kept.
    """
    frame = frame.assign(
        label=_labels(frame),
        precision=frame["dtype"].mask(
            frame["autocast"].fillna(value=False), frame["dtype"] + " autocast"
        ),
        size=[
            f"{batch}×{dim}, C={classes}"
            for batch, dim, classes in zip(
                frame["batch"], frame["dim"], frame["classes"], strict=True
            )
        ],
    )
    frame = frame.drop_duplicates(["label", *CASE_COLUMNS, "variant"], keep="last")
    labels = {label: rank for rank, label in enumerate(frame["label"].unique())}
    rows = zip(frame["label"], _cases(frame), frame["variant"], strict=True)
    places = [
        (labels[label], place_of_case(case), place_of_variant(variant, case.loss))
        for label, case, variant in rows
    ]
    frame = frame.iloc[sorted(range(len(frame)), key=places.__getitem__)].reset_index(drop=True)
    return frame.assign(
        case=frame.groupby(["label", *CASE_COLUMNS], sort=False, dropna=False).ngroup()
    )


def _cases(frame: "pd.DataFrame") -> list[Case]:
    """Return the Case of each row; where a tool keeps no seed or autocast, that has the default."""
    usual = {"data": Case.data, "seed": Case.seed, "autocast": Case.autocast}
    rows = frame[list(CASE_COLUMNS)].fillna(usual).itertuples(index=False)
    return [Case(*row) for row in rows]


def _labels(frame: "pd.DataFrame") -> "list[str]":
    """Return a short name of the run of each row, and of its machine where a run has several."""
    pairs = frame[["run", "machine"]].drop_duplicates()
    shorter = short_names(pairs["run"].unique())
    several = pairs["run"].value_counts()
    names = {
        (run, machine): shorter[run] + (f" on {machine}" if several[run] > 1 else "")
        for run, machine in pairs.itertuples(index=False)
    }
    return [names[key] for key in zip(frame["run"], frame["machine"], strict=True)]


def short_names(runs: Iterable[str]) -> dict[str, str]:
    """Return for each folder or file the end of its path: two parts, more where two are alike."""
    parts = {run: Path(run).resolve().parts for run in runs}
    length = 2
    while len({path[-length:] for path in parts.values()}) < len(parts):
        length += 1
    return {run: "/".join(path[-length:]) for run, path in parts.items()}
