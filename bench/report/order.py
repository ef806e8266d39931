"""The order of a report's rows and variants, and the short names of its runs."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lossbench import impls
from lossbench.bench.case.cases import DATA_KINDS, DTYPES
from lossbench.bench.frame.columns import CASE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd


def ordered(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a frame in the order of the catalogue, with additional columns for the report.

    ``label`` is the short name of the run, ``precision`` the dtype, with ``autocast`` if it was
    used, ``size`` the sizes as text, and ``case`` a number for each Case of a label. If a run has a
    cell twice, the last one is kept.
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
    """Return all variants in order: the reference first, compiled ones last.

    Args:
        also: names of variants to add to those of the registry.
    """
    names = dict.fromkeys(
        implementation.variant
        for loss in impls.losses()
        for implementation in impls.implementations(loss.name)
    )
    return sorted(dict.fromkeys([*names, *also]), key=_place)


def base_of(variant: str) -> str:
    """Return the name of the eager variant of a compiled one."""
    return variant.partition("+")[0]


def _place(variant: str) -> tuple[bool, bool, str, str]:
    return "+" in variant, variant != "reference", base_of(variant), variant


def _ranks(values: Iterable[str]) -> dict[str, int]:
    """Return the rank of each value, in the order of first appearance."""
    return {value: place for place, value in enumerate(dict.fromkeys(values))}


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
