"""``selftest``: test the harness itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lossbench.bench.cli.figures import finish, make_folder
from lossbench.bench.cli.options import budget_option, device_option, machine_option, threads_option
from lossbench.bench.format import console
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.paths import RUNS, SELFTESTS
from lossbench.bench.run.plan import choose_device
from lossbench.bench.selftest import SelfTestPlan, Tell, run_selftest
from lossbench.bench.selftest.tables import report_table
from lossbench.bench.show.progress import progress_bar
from lossbench.bench.timing.samples import FEWEST_PROCESSES

# False alarms of 5% need this many to be told from those of 10%.
TRIALS = 100
QUICK_TRIALS, QUICK_PAIRS = 2, 0


@click.command()
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=TRIALS,
    show_default=True,
    help="Number of trials of identical code, and of the slowdown that must be found.",
)
@click.option(
    "--gate-pairs",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Number of pairs to compare with asv and with pytest-benchmark.",
)
@budget_option("Seconds of sampling per process of each trial.", default=2.5)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=FEWEST_PROCESSES,
    show_default=True,
    help="Number of processes that sample in each trial, one after the other.",
)
@click.option(
    "--quick", is_flag=True, help="Run a few trials and contenders only, to see that it works."
)
@threads_option()
@machine_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write to, in a subfolder named after the machine; by default results/selftest, "
    "with --quick results/runs/selftest.",
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
    """Test the harness: false alarms, planted slowdowns, intervals, cheating contenders, memory.

    Contenders of every publicly known kind of cheat, and others that harm the process, are entered
    into one run. Each must get its expected status, and the honest ones the same figures as in a
    run without the bad ones.

    The exit code is 1 if the harness breaks a promise. A promise about a share of trials is checked
    only with at least 60 trials, or 20 of a slowdown under load.
    """
    plan = SelfTestPlan(
        trials=min(trials, QUICK_TRIALS) if quick else trials,
        gate_pairs=min(gate_pairs, QUICK_PAIRS) if quick else gate_pairs,
        budget_seconds=budget,
        threads=threads or default_threads(),
        device=choose_device(device),
        processes=processes,
        machine=machine,
        quick=quick,
    )
    # The figures of a quick test must not replace those of a full test.
    place = out or (RUNS / "selftest" if quick else SELFTESTS)
    make_folder(place)
    try:
        with _telling(plan.parts) as tell:
            report = run_selftest(plan, tell)
    except KeyboardInterrupt:
        click.echo("stopped; no figures are written, since only a part is there", err=True)
        raise
    finish(report, report_table(report), place, "selftest")


@contextmanager
def _telling(parts: int) -> Iterator[Tell]:
    """Show progress: a bar on a terminal, lines elsewhere."""
    out, begun = console(stderr=True), iter(range(parts))
    if not out.is_terminal:
        yield lambda text: out.print(
            f"[{next(begun) + 1}/{parts}] {text}", markup=False, soft_wrap=True
        )
        return
    with progress_bar(out, "parts") as progress:
        task = progress.add_task("starting", total=parts)
        yield lambda text: progress.update(task, description=text, completed=next(begun))
