"""The order and the names in which a report shows what a frame holds."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench import impls
from lossbench.bench.case.cases import DATA_KINDS, DTYPES
from lossbench.bench.frame.columns import CASE_COLUMNS

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
    ranks = {
        "label": _ranks(frame["label"]),
        "loss": _ranks([*(loss.name for loss in impls.losses()), *frame["loss"]]),
        "dtype": _ranks([*DTYPES, *frame["dtype"]]),
        "data": _ranks([*DATA_KINDS, *frame["data"]]),
        "variant": _ranks(variant_order(frame["variant"])),
    }
    sizes = ["device", "autocast", "dtype", "data", "dim", "classes", "batch", "seed"]
    frame = frame.sort_values(
        ["label", "loss", *sizes, "variant"],
        key=lambda column: (
            column.map(ranks.get(str(column.name), {}).get) if column.name in ranks else column
        ),
        ignore_index=True,
    )
    return frame.assign(
        case=frame.groupby(["label", *CASE_COLUMNS], sort=False, dropna=False).ngroup()
    )


def variant_order(also: Iterable[str] = ()) -> list[str]:
    """Return the variants of the registry, and others: the reference first, compiled ones last."""
    names = dict.fromkeys(
        implementation.variant
        for loss in impls.losses()
        for implementation in impls.implementations(loss.name)
    )
    return sorted(dict.fromkeys([*names, *also]), key=_place)


def base_of(variant: str) -> str:
    """Return what a variant is without its compilation."""
    return variant.partition("+")[0]


def _place(variant: str) -> tuple[bool, bool, str, str]:
    return "+" in variant, variant != "reference", base_of(variant), variant


def _ranks(values: Iterable[str]) -> dict[str, int]:
    """Return the place of each value by its first appearance."""
    return {value: place for place, value in enumerate(dict.fromkeys(values))}


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
