"""Render the page of a report: the data for the templates, and the format of figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbench import impls
from lossbench.bench.choose.text import OTHERS
from lossbench.bench.compat.table import known_table
from lossbench.bench.machine.environment import Environment
from lossbench.bench.marks import MARKS, marks_of
from lossbench.bench.measure.degenerate import DEGENERATE
from lossbench.bench.metrics import SHOWN
from lossbench.bench.report import findings, legend
from lossbench.bench.report.data import Evidence
from lossbench.bench.report.filters import templates
from lossbench.bench.report.overview import grids
from lossbench.bench.report.payload import payload
from lossbench.bench.report.releases import releases_of
from lossbench.bench.run.mixture import mixture_of, setting_of
from lossbench.bench.run.order import is_registered
from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS

if TYPE_CHECKING:
    import pandas as pd

# A browser is slow to sort more rows than this; the file of all cells has the rest.
MOST_ROWS = 2000
VENDORED = Path(__file__).parent / "vendor"
"""The folder of uPlot, which draws the plots of the page."""
VENDORED_FILES = {"css": "uPlot.min.css", "js": "uPlot.iife.min.js"}


def render(evidence: Evidence) -> str:
    """Return the HTML page of a report, which needs no other file."""
    from markupsafe import Markup

    frame = evidence.frame
    names = list(frame["loss"].unique())
    answers = [answer for setting in evidence.settings for answer in setting.answers]
    shown = {
        "data": Markup(payload(evidence.settings, names)),
        "vendored": {
            kind: Markup((VENDORED / name).read_text()) for kind, name in VENDORED_FILES.items()
        },
        "answers": answers,
        "others": OTHERS,
        "untold": sum(setting.untold for setting in evidence.settings),
        "labels": evidence.labels,
        "losses": names,
        "devices": list(frame["device"].unique()),
        "precisions": list(frame["precision"].unique()),
        "runs": [
            _run(str(label), rows, evidence.environments.get(str(label), ()))
            for label, rows in frame.groupby("label", sort=False)
        ],
        "total": len(frame),
        "cells": _few(frame, names),
        "winners": _few(findings.winners(frame), names),
        "compiled": _few(findings.break_even(frame), names),
        "agreement": _few(findings.agreement_rows(frame), names),
        "untimed": _few(findings.untimed(frame), names),
        "grids": [_grid(grid.words, grid.variants, grid.rows) for grid in grids(frame)],
        "catalogue": [loss for loss in impls.losses() if loss.name in names],
        "departing": _departing(),
        "unregistered": _unregistered(frame),
        "conformance": evidence.conformance,
        "training": evidence.training,
        "situations": LOOP_SITUATIONS,
        "compat": known_table(),
        "releases": releases_of(frame),
        "environments": evidence.environments,
        "outside": _few(findings.outside(frame), names),
        "degenerate": DEGENERATE,
        "legend": legend,
        "marked": marks_of(_values_of_marks(frame)),
        "metrics": SHOWN,
    }
    return templates().get_template("page.html.j2").render(shown)


def _few(frame: "pd.DataFrame", losses: list[str]) -> list[dict[str, Any]]:
    """Return rows as dictionaries, with ``None`` for missing values; if too many, some per Loss."""
    if len(frame) > MOST_ROWS:
        frame = frame.groupby("loss", sort=False).head(MOST_ROWS // len(losses))
    plain = frame.astype(object)
    rows: list[dict[Any, Any]] = plain.where(plain.notna(), None).to_dict("records")
    return rows


def _values_of_marks(frame: "pd.DataFrame") -> list[dict[Any, Any]]:
    """Return all combinations of values that marks depend on, each once."""
    columns = list(dict.fromkeys(mark.column for mark in MARKS))
    rows: list[dict[Any, Any]] = frame[columns].drop_duplicates().to_dict("records")
    return rows


def _run(label: str, rows: "pd.DataFrame", environments: Sequence[Environment]) -> dict[str, Any]:
    first = rows.iloc[0]
    return {
        "label": label,
        "machine": first["machine"],
        "processor": first["gpu"] if (rows["device"] == "cuda").all() else first["cpu"],
        "made": rows["made"].max(),
        "commits": sorted({commit[:12] for commit in rows["commit"].dropna()}),
        "torch": ", ".join(sorted(set(rows["torch"].dropna()))),
        "cells": len(rows),
        "statuses": rows["status"].value_counts().to_dict(),
        "mixture": mixture_of(map(setting_of, environments)),
    }


def _grid(words: str, variants: list[str], rows: "pd.DataFrame") -> dict[str, Any]:
    """Return a heat map for the templates: its variants, and cells by label, Loss and variant."""
    tables: dict[str, dict[str, dict[str, Any]]] = {}
    for row in _few(rows, list(rows["loss"].unique())):
        tables.setdefault(row["label"], {}).setdefault(row["loss"], {})[row["variant"]] = row
    first = rows.iloc[0]
    return {
        "words": words,
        "variants": variants,
        "tables": tables,
        "device": first["device"],
        "precision": first["precision"],
    }


def _unregistered(frame: "pd.DataFrame") -> list[str]:
    """Return the losses and variants of a frame that the registry no longer has."""
    cells = frame[["loss", "variant"]].drop_duplicates().itertuples(index=False)
    return [f"{loss} {variant}" for loss, variant in cells if not is_registered(loss, variant)]


def _departing() -> list[impls.Implementation]:
    """Return the variants that are declared not equal to their Loss, without compiled ones."""
    every = (each for loss in impls.losses() for each in impls.implementations(loss.name))
    return [each for each in every if each.departs and not each.compiled]
