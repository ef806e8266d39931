"""``report``: a page to look at."""

from pathlib import Path

import click

from lossbench.bench.cli.options import Folder, with_option
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console
from lossbench.bench.paths import RUNS
from lossbench.bench.report import write_report
from lossbench.bench.report.data import default_runs
from lossbench.bench.report.readme import renew


@click.command()
@with_option
@click.argument("runs", type=Folder, nargs=-1)
@click.option("--out", type=Folder, help="Folder to write to; `report` in the run's by default.")
@click.option(
    "--readme", type=click.Path(path_type=Path, dir_okay=False),
    help="Renew the winners and the table of columns in this Markdown file; make no page.",
)  # fmt: skip
def report(runs: tuple[Path, ...], out: Path | None, readme: Path | None) -> None:
    """Make one page of RUNS that needs no network, and its plots as SVG and PNG beside it.

    RUNS are folders of `run`, or such that hold some, or results of asv and pytest-benchmark; by
    default the latest of your own, or where you have none those that come with lossbench. Several
    are shown side by side, each against the reference of its own.
    """
    if readme is not None:
        if out is not None:
            raise UsageError("--readme writes no page: give it or --out")
        renew(readme, runs)
        click.echo(f"renewed: {readme}", err=True)
        return
    chosen = list(runs) or default_runs()
    alone = chosen[0] / "report" if len(chosen) == 1 else RUNS / "report"
    with console(stderr=True).status(f"drawing {', '.join(map(str, chosen))}"):
        page = write_report(chosen, out or alone)
    click.echo(f"page: {page}", err=True)
