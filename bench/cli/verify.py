"""``verify``: refuse a bundle that was changed or cannot be true, and measure a sample of it."""

import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from lossbench.bench.choose.measuring import expected_seconds
from lossbench.bench.choose.sources import load_readable, load_records
from lossbench.bench.cli.kinds import Folder
from lossbench.bench.cli.options import budget_option
from lossbench.bench.cli.output import asked_form, form_options, print_rows
from lossbench.bench.cli.submit import print_bundle
from lossbench.bench.format import counted, duration, folded, narrow_width
from lossbench.bench.paths import records_folders
from lossbench.bench.run.plan import RunPlan, start_run
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.records import Record
from lossbench.bench.run.running import run
from lossbench.bench.show.progress import watching
from lossbench.bench.submit.again import Remeasured, compare_again, plan_again, sample_cells
from lossbench.bench.submit.bundle import Bundle, BundleRefused, read_bundle
from lossbench.bench.submit.checks import Refusal, check_bundle


@click.command()
@click.argument("file", metavar="BUNDLE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--against", "known", type=Folder, multiple=True,
    help="Folder of runs to compare the counts of equal cells with; can be given several times. By "
    "default results/ and the records that come with lossbench.",
)  # fmt: skip
@click.option(
    "--measure/--no-measure", default=True, show_default=True,
    help="Measure some cells again, or only check what the bundle says.",
)  # fmt: skip
@click.option(
    "--cells", type=click.IntRange(1), default=3, show_default=True,
    help="Number of cells to measure again.",
)  # fmt: skip
@budget_option("Seconds of sampling per phase (forward, step) of each cell.", default=1.0)
@click.option(
    "--seed", type=click.IntRange(0),
    help="Seed that draws the cells; by default a new one, which is told.",
)  # fmt: skip
@form_options
def verify(
    file: Path, known: tuple[Path, ...], measure: bool, cells: int, budget: float, seed: int | None
) -> None:
    """Check BUNDLE, a file of `submit`, and measure a few of its cells again.

    Refused are bundles that were changed after `submit`, times below the limit of their machine,
    bytes that no step has, counts that differ from known ones, and ratios that contradict each
    other. On this machine and at its commit, counts of the sample must be equal; elsewhere counts
    and ratios are compared roughly.

    The exit code is 1 if the bundle is refused, and 0 otherwise.
    """
    drawn = secrets.randbelow(2**31) if seed is None else seed
    comparisons: list[Remeasured] = []
    try:
        bundle = read_bundle(file)
    except BundleRefused as refused:
        _finish([Refusal("", str(refused))], comparisons, "")
    if not asked_form():
        print_bundle(bundle)
    refusals = check_bundle(bundle, load_records(known) if known else known_records())
    if refusals or not measure:
        _finish(refusals, comparisons, "checked, not measured")
    sample = sample_cells(bundle.records, cells, drawn)
    if not sample:
        _finish([], comparisons, "checked; none of its cells can be measured here")
    comparisons = _measure(bundle, sample, budget, drawn)
    found = [each.refusal for each in comparisons if each.refusal]
    measured_again = counted(len(comparisons), "cell")
    _finish(found, comparisons, f"checked, and {measured_again} measured with seed {drawn}")


def known_records() -> list[Record]:
    """Return the readable records of the default folders."""
    return load_readable(records_folders())[0]


def _measure(
    bundle: Bundle, sample: Sequence[Record], budget: float, seed: int
) -> list[Remeasured]:
    plan = plan_again(sample, bundle.plan.threads, budget)
    click.echo(
        f"measuring {len(sample)} of its cells, drawn with --seed {seed}: "
        f"about {duration(expected_seconds(plan))}",
        err=True,
    )
    return list(compare_again(sample, measured(plan)))


def measured(plan: RunPlan) -> list[Record]:
    """Return the Records of a plan; no file of them is kept."""
    with tempfile.TemporaryDirectory(prefix="lossbench-") as name:
        folder = Path(name)
        start_run(folder, plan)
        with watching(plan, folder) as watcher:
            run(folder, plan, watcher)
        return read_records(folder)


def _finish(refusals: Sequence[Refusal], comparisons: Sequence[Remeasured], how: str) -> NoReturn:
    """Print the verdict, and exit with 1 if the bundle is refused."""
    if asked_form():
        rows = [("refused", each.place, each.reason) for each in refusals]
        rows += [("measured", each.place, each.text) for each in comparisons]
        rows += [("accepted", "", how)] if not refusals else []
        print_rows({"kind": kind, "place": place, "text": text} for kind, place, text in rows)
    else:
        for each in comparisons:
            click.echo(folded(f"{each.place}: {each.text}", narrow_width()))
        for refusal in refusals:
            click.echo(f"refused: {refusal}")
        if not refusals:
            click.echo(f"accepted: {how}")
    click.get_current_context().exit(1 if refusals else 0)
