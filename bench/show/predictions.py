"""The table of a preset's cases on CUDA, with limits predicted from data sheets."""

from rich.table import Table

from lossbench.bench.case.presets import PRESETS
from lossbench.bench.format import figures_table, si
from lossbench.bench.measure.ceilings import limit
from lossbench.bench.measure.chips import CHIPS


def predictions_table(preset: str) -> Table:
    """Return the cases of a preset, each with the least time of a step on each known chip."""
    table = figures_table("case", *(f"limit on {chip}" for chip in CHIPS))
    cases = (case for grid in PRESETS[preset].grids for case in grid.cases("cuda"))
    for case in dict.fromkeys(cases):
        limits = (limit(case, "step", chip) for chip in CHIPS.values())
        shown = (f"{si(each.seconds, 's')} {each.bound}" for each in limits)
        table.add_row(f"{case.loss} {case}", *shown)
    return table
