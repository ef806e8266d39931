"""Compare releases of torch in a report, by the speed-ups within each release.

Times of two releases were measured in different runs, under different loads. The speed-up of a
variant over the reference was measured in the same rounds, so speed-ups can be compared.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.bench.report.findings import winners
from lossbench.impls.torch_release import release_of, release_text

if TYPE_CHECKING:
    import pandas as pd

CASE = ["machine", "loss", "device", "precision", "data", "seed", "size"]


@dataclass(frozen=True)
class Releases:
    """The fastest variant of each Case that several releases measured on one machine.

    Attributes:
        names: the releases, the oldest first.
        rows: one mapping per Case: ``where``, the values of ``CASE`` by name; ``cells``, the row of
            the fastest variant or ``None``, one per release; ``changed``, whether they differ.
    """

    names: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]


def releases_of(frame: "pd.DataFrame") -> Releases | None:
    """Return the fastest variants by release; ``None`` if no Case was measured by two releases."""
    found = winners(frame)
    if found.empty:
        return None
    found = found.assign(release=found["torch"].map(release_of)).sort_values("made", kind="stable")
    found = found.drop_duplicates([*CASE, "release"], keep="last")
    found = found[found.duplicated(CASE, keep=False)]
    rows = []
    for key, group in found.groupby(CASE, sort=False, dropna=False):
        cells = {row["release"]: row for row in group.to_dict("records")}
        rows.append((dict(zip(CASE, key, strict=True)), cells))
    releases = sorted({release for _, cells in rows for release in cells})
    return (
        Releases(
            names=tuple(map(release_text, releases)),
            rows=tuple(_row(where, cells, releases) for where, cells in rows),
        )
        if rows
        else None
    )


def _row(
    where: dict[str, Any], cells: dict[tuple[int, int], Any], releases: list[tuple[int, int]]
) -> dict[str, Any]:
    names = {cell["variant"] for cell in cells.values()}
    shown = [cells.get(release) for release in releases]
    return {"where": where, "cells": shown, "changed": len(names) > 1}
