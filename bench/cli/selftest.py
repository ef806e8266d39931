"""``selftest``: the harness on trial."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lossbench.bench.cli.figures import finish, make_folder
from lossbench.bench.cli.options import FiniteRange, Name, device_option
from lossbench.bench.format import console
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.paths import RUNS, SELFTESTS
from lossbench.bench.run.plan import choose_device
from lossbench.bench.selftest import SelfTestPlan, Tell, run_selftest
from lossbench.bench.selftest.report import FEWEST_TRIALS
from lossbench.bench.selftest.tables import report_table
from lossbench.bench.show.progress import progress_bar

QUICK_TRIALS, QUICK_PAIRS = 2, 1


@click.command()
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=FEWEST_TRIALS,
    show_default=True,
    help="Of each share that is judged.",
)
@click.option(
    "--gate-pairs",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="For asv and pytest-benchmark.",
)
@click.option(
    "--budget",
    type=FiniteRange(0, min_open=True),
    default=3.0,
    show_default=True,
    help="Seconds to sample a trial, in each of its processes.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="That each trial samples in, one after the other.",
)
@click.option("--quick", is_flag=True, help="A few trials, to see that it works.")
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.")
@click.option("--machine", type=Name(), default="", help="The name this machine goes by.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to put the machine's folder; by default results/selftest, if quick results/runs.",
)
@device_option
def selftest(
    trials: int,
    gate_pairs: int,
    budget: float,
    processes: int,
    quick: bool,
    threads: int | None,
    machine: str,
    out: Path | None,
    device: str,
) -> None:
    """Put the harness on trial: false alarms, planted slowdowns, load, cheaters, memory.

    The exit code is 1 where a promise fails. A share of fewer than 60 trials is not judged.
    """
    plan = SelfTestPlan(
        trials=min(trials, QUICK_TRIALS) if quick else trials,
        gate_pairs=min(gate_pairs, QUICK_PAIRS) if quick else gate_pairs,
        budget_seconds=budget,
        threads=threads or default_threads(),
        device=choose_device(device),
        processes=processes,
        machine=machine,
    )
    # A quick one must not take the place of a whole one's figures.
    place = out or (RUNS / "selftest" if quick else SELFTESTS)
    make_folder(place)
    try:
        with _telling(plan.parts) as tell:
            report = run_selftest(plan, tell)
    except KeyboardInterrupt:
        click.echo("stopped; a part of the figures tells nothing, so none are written", err=True)
        raise
    finish(report, report_table(report), place, "selftest")


@contextmanager
def _telling(parts: int) -> Iterator[Tell]:
    """Show what goes on, a bar on a terminal, lines elsewhere."""
    out, begun = console(stderr=True), iter(range(parts))
    if not out.is_terminal:
        yield lambda text: out.print(
            f"[{next(begun) + 1}/{parts}] {text}", markup=False, soft_wrap=True
        )
        return
    with progress_bar(out, "parts") as progress:
        task = progress.add_task("starting", total=parts)
        yield lambda text: progress.update(task, description=text, completed=next(begun))
