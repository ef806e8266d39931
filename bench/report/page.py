"""Render the page of a report: the data for the templates, and the format of figures."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lossbench import impls
from lossbench.bench.compat.table import known_table
from lossbench.bench.format import binary, si
from lossbench.bench.machine.environment import Environment
from lossbench.bench.marks import OF_THE_VARIANT, SHARED_COMPILE, marks_of, signs
from lossbench.bench.markup import breakable, ticked
from lossbench.bench.measure.degenerate import DEGENERATE
from lossbench.bench.metrics import SHOWN
from lossbench.bench.report import findings, legend
from lossbench.bench.report.data import Evidence
from lossbench.bench.report.gallery import Plot
from lossbench.bench.report.overview import grids
from lossbench.bench.report.releases import releases_of
from lossbench.bench.run.mixture import mixture_of, setting_of
from lossbench.bench.run.order import is_registered
from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment as Templates

# A browser is slow to sort more rows than this; the file of all cells has the rest.
MOST_ROWS = 2000
WORDS: dict[str, Callable[[Any], object]] = {
    "seconds": lambda value: si(value, "s"),
    "count": lambda value: si(value, ""),
    "bytes": lambda value: binary(int(value)),
    "ratio": lambda value: f"{value:.0f}" if value >= 1000 else f"{value:.3g}",
    "small": "{:.0e}".format,
    "percent": "{:.0%}".format,
    "steps": lambda value: "never" if value == math.inf else f"{value:,.0f}",
    "shade": lambda speedup: _shade(speedup),
}


def render(evidence: Evidence, plots: Sequence[Plot]) -> str:
    """Return the HTML page of a report, which needs no other file."""
    frame = evidence.frame
    names = list(frame["loss"].unique())
    shown = {
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
        "plots": plots,
        "conformance": evidence.conformance,
        "training": evidence.training,
        "situations": LOOP_SITUATIONS,
        "compat": known_table(),
        "releases": releases_of(frame),
        "environments": evidence.environments,
        "outside": _few(findings.outside(frame), names),
        "degenerate": DEGENERATE,
        "legend": legend,
        "marked": marks_of(frame.to_dict("records")),
        "metrics": SHOWN,
    }
    return _templates().get_template("page.html.j2").render(shown)


def _templates() -> "Templates":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("lossbench.bench.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.filters |= {name: _or_nothing(words) for name, words in WORDS.items()}
    templates.filters |= {
        "ticked": ticked,
        "breakable": breakable,
        "specification": _specification,
        "variant_sign": lambda row: signs(row, OF_THE_VARIANT),
        "compile_sign": lambda row: signs(row, [SHARED_COMPILE]),
    }
    return templates


def _or_nothing(words: Callable[[Any], object]) -> Callable[[Any], object]:
    """Return a filter that shows an empty text for a missing value."""
    return lambda value: "" if value is None else words(value)


def _few(frame: "pd.DataFrame", losses: list[str]) -> list[dict[str, Any]]:
    """Return rows as dictionaries, with ``None`` for missing values; if too many, some per Loss."""
    if len(frame) > MOST_ROWS:
        frame = frame.groupby("loss", sort=False).head(MOST_ROWS // len(losses))
    plain = frame.astype(object)
    rows: list[dict[Any, Any]] = plain.where(plain.notna(), None).to_dict("records")
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


def _shade(speedup: float) -> int:
    """Return the strength of a cell's colour, in per cent; strongest at a factor of 8."""
    return round(15 + 45 * min(1.0, abs(math.log(max(speedup, 1e-9))) / math.log(8)))


def _specification(environment: Environment) -> dict[str, str]:
    """Return the properties of an environment to show, by name."""
    packages = (f"{name} {version}" for name, version in environment.packages.items())
    variables = (f"{name}={value}" for name, value in environment.variables.items())
    memory = f"{binary(environment.memory_bytes)}"
    processors = ", ".join(map(str, environment.affinity))
    return {
        "machine": environment.machine,
        "processor": f"{environment.cpu}, {environment.cores} cores, {memory}",
        "GPU": f"{environment.gpu}, CUDA {environment.cuda}" if environment.gpu else "none",
        "threads": f"{environment.threads} on processors {processors}",
        "torch": environment.torch,
        "packages": ", ".join(packages) or "none",
        "Python": environment.python,
        "system": environment.system,
        "commit": environment.revision,
        "variables": ", ".join(variables) or "none",
        "load at the start": f"{environment.conditions.load:g}",
        "warnings": "; ".join(environment.warnings) or "none",
    }
