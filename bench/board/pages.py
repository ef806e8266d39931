"""Render the pages of the board: an index, and one page per loss."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import TYPE_CHECKING, Any

import lossbench
from lossbench import impls
from lossbench.bench.board.rows import BoardRow, Standings
from lossbench.bench.board.views import (
    View,
    cell_view,
    machine_view,
    page_of,
    row_view,
)
from lossbench.bench.frame.columns import CASE_COLUMNS
from lossbench.bench.marks import marks_of
from lossbench.bench.markup import breakable, ticked
from lossbench.bench.metrics import SHOWN
from lossbench.bench.run.order import place_of_record
from lossbench.impls.estimate import SAME_MARGIN

if TYPE_CHECKING:
    from jinja2 import Environment as Templates

INDEX, STYLE, SCRIPT, DATA = "index.html", "style.css", "script.js", "board.csv"
DATA_COLUMNS = (
    *CASE_COLUMNS,
    *("machine", "host", "variant", "step_seconds", "step_speedup", "step_speedup_low"),
    *("step_speedup_high", "step_peak_bytes", "verdict", "rival", "by", "date", "commit"),
)
VERDICTS = {
    "clear": "no other variant can be faster, by the 95% intervals",
    "same": f"another variant takes the same time, to within {SAME_MARGIN:.0%}",
    "unclear": "the intervals do not separate it from another variant",
    "only one": "no other variant is eligible",
}


def render_site(standings: Standings) -> dict[str, str]:
    """Return the text of every file of the site, by name."""
    templates, sources = _templates(), standings.sources
    labels = standings.labels
    rows = [row_view(row, labels[row.pool.host], sources) for row in standings.rows]
    shared: View = {
        "version": lossbench.__version__,
        "verdicts": VERDICTS,
        "losses": standings.losses,
    }
    index = templates.get_template(f"{INDEX}.j2").render(
        **shared,
        rows=rows,
        machines=[
            machine_view(host, labels[host], pools, sources)
            for host, pools in standings.hosts.items()
        ],
        left_out=sources.left_out,
        unranked=standings.unranked,
        total=len(sources.records),
        marked=marks_of(_signed(standings.rows)),
    )
    page = templates.get_template("loss.html.j2")
    pages = {
        page_of(name): page.render(**shared, **_loss_view(standings, name, rows))
        for name in standings.losses
    }
    files = {name: templates.get_template(name).render() for name in (STYLE, SCRIPT)}
    return {INDEX: index, **pages, **files, DATA: _csv(rows)}


def _csv(rows: Iterable[View]) -> str:
    """Return the rows of the index as CSV, with plain numbers."""
    text = StringIO()
    writer = csv.DictWriter(text, DATA_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _loss_view(standings: Standings, name: str, rows: Iterable[View]) -> View:
    """Return what the page of a Loss shows: its definition, its rows, and the cells behind them."""
    best = {
        (row.case, row.pool.host): row.best.variant
        for row in standings.rows
        if row.case.loss == name
    }
    tables: list[View] = []
    for host, pools in standings.hosts.items():
        records = [r for pool in pools for r in pool.records if r.case.loss == name]
        records.sort(key=place_of_record)
        cells = [cell_view(r, best.get((r.case, host)), standings.sources) for r in records]
        if cells:
            tables.append({"machine": standings.labels[host], "host": str(host), "cells": cells})
    return {
        "loss": impls.loss(name),
        "rows": [row for row in rows if row["loss"] == name],
        "tables": tables,
        "metrics": SHOWN,
        "marked": marks_of(cell for table in tables for cell in table["cells"]),
    }


def _signed(rows: Iterable[BoardRow]) -> Iterator[Mapping[str, Any]]:
    """Yield the variants with a sign in the rows."""
    for row in rows:
        yield vars(row.best)
        yield from (vars(each.candidate) for each in row.others)


def _templates() -> "Templates":
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    # The board looks as the report does, and sorts and filters with its script.
    packages = ("lossbench.bench.board", "lossbench.bench.report")
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.filters |= {"breakable": breakable, "ticked": ticked}
    return templates
