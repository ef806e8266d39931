"""The order of a report's rows and variants, and the short names of its runs."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench.bench.case.cases import Case
from lossbench.bench.frame.columns import CASE_COLUMNS
from lossbench.bench.frame.duplicates import without_duplicates
from lossbench.bench.marks import OF_THE_VARIANT, signs
from lossbench.bench.run.order import place_of_case, place_of_variant

if TYPE_CHECKING:
    import pandas as pd


def ordered(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a frame in the order of the catalogue, with additional columns for the report.

    ``label`` is the short name of the run, ``precision`` the dtype, with ``autocast`` if it was
    used, ``size`` the sizes as text, ``name`` the variant with the sign of uncommitted changes, and
    ``case`` a number for each Case of a label. If a run has a cell several times, the one that
    counts is kept.
    """
    frame = frame.assign(
        label=_labels(frame),
        precision=frame["dtype"].mask(
            frame["autocast"].fillna(value=False), frame["dtype"] + " autocast"
        ),
        size=[
            f"{batch}×{dim}, C={classes}" + (f", {ranks} ranks" if ranks > 1 else "")
            for batch, dim, classes, ranks in zip(
                frame["batch"],
                frame["dim"],
                frame["classes"],
                frame["ranks"].fillna(Case.ranks),
                strict=True,
            )
        ],
    )
    marked = frame[["variant", *dict.fromkeys(mark.column for mark in OF_THE_VARIANT)]]
    frame = frame.assign(name=[_marked(*row) for row in marked.itertuples(index=False)])
    frame = without_duplicates(frame, ["label", *CASE_COLUMNS, "variant"])
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


def _marked(variant: str, *values: object) -> str:
    """Return a variant with its signs, from the values of the columns of its marks."""
    columns = dict.fromkeys(mark.column for mark in OF_THE_VARIANT)
    return variant + signs(dict(zip(columns, values, strict=True)), OF_THE_VARIANT)


def _cases(frame: "pd.DataFrame") -> list[Case]:
    """Return the Case of each row; where a tool keeps no seed or autocast, that has the default."""
    kept = ("data", "seed", "autocast", "ranks")
    usual = {name: getattr(Case, name) for name in kept}
    rows = frame[list(CASE_COLUMNS)].fillna(usual).itertuples(index=False)
    return [Case(*row) for row in rows]


def _labels(frame: "pd.DataFrame") -> "list[str]":
    """Return the short name of each row's run, with the machine if the run has several."""
    pairs = frame[["run", "machine"]].drop_duplicates()
    shorter = short_names(pairs["run"].unique())
    several = pairs["run"].value_counts()
    names = {
        (run, machine): shorter[run] + (f" on {machine}" if several[run] > 1 else "")
        for run, machine in pairs.itertuples(index=False)
    }
    return [names[key] for key in zip(frame["run"], frame["machine"], strict=True)]


def short_names(runs: Iterable[str]) -> dict[str, str]:
    """Return the end of each folder's or file's path: two parts, or more to keep them distinct."""
    parts = {run: Path(run).resolve().parts for run in runs}
    length = 2
    while len({path[-length:] for path in parts.values()}) < len(parts):
        length += 1
    return {run: "/".join(path[-length:]) for run, path in parts.items()}
