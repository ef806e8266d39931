"""``report``: make an HTML page of runs, with plots."""

from pathlib import Path

import click

from lossbench.bench.cli.kinds import Folder
from lossbench.bench.cli.options import with_option
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console
from lossbench.bench.paths import RUNS
from lossbench.bench.report import write_report
from lossbench.bench.report.data import default_runs
from lossbench.bench.report.readme import renew


@click.command()
@with_option
@click.argument("runs", type=Folder, nargs=-1)
@click.option(
    "--out", type=Folder,
    help="Folder to write to; by default `report` in the folder of the run, or results/runs/report "
    "for several runs.",
)  # fmt: skip
@click.option(
    "--readme", type=click.Path(path_type=Path, dir_okay=False),
    help="Markdown file in which to update the parts between marks: answers, pictures, winners and "
    "columns; makes no page. RUN@64x128x10 then stands for the cases of a run with batch 64, dim "
    "128 and 10 classes.",
)  # fmt: skip
def report(runs: tuple[Path, ...], out: Path | None, readme: Path | None) -> None:
    """Make an HTML page of RUNS that needs no network, and plots as SVG and PNG files.

    RUNS are folders of `run`, folders that contain such folders, or results of asv or
    pytest-benchmark. The default is your latest run; without one, the runs that come with
    lossbench. The page opens with what `choose` answers from all the runs together; below, each
    run is shown relative to its own reference.
    """
    if readme is not None:
        if out is not None:
            raise UsageError("--readme makes no page: give --readme or --out, not both")
        renew(readme, runs)
        click.echo(f"updated: {readme}", err=True)
        return
    chosen = list(runs) or default_runs()
    alone = chosen[0] / "report" if len(chosen) == 1 else RUNS / "report"
    with console(stderr=True).status(f"drawing {', '.join(map(str, chosen))}"):
        page = write_report(chosen, out or alone)
    click.echo(f"page: {page}", err=True)
