"""``choose-check``: test how often ``choose`` is right."""

import tempfile
from pathlib import Path

import click

from lossbench.bench.choose.drawn import plan_of, predict
from lossbench.bench.choose.sources import Host
from lossbench.bench.choose.trial import TrialReport, trial_of, trial_table
from lossbench.bench.cli.choose import load_runs, machine_option, records_option
from lossbench.bench.cli.figures import finish, make_folder, out_option
from lossbench.bench.cli.options import budget_option, device_option
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.quotas import default_threads
from lossbench.bench.run.plan import choose_device, start_run
from lossbench.bench.run.reading import read_records
from lossbench.bench.run.running import run
from lossbench.bench.show.progress import watching
from lossbench.bench.stamped import now


@click.command("choose-check")
@click.option(
    "--held-out", "count", type=click.IntRange(1), default=40, show_default=True,
    help="Number of random sizes to choose for and then measure.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random sizes.")
@budget_option("Seconds of sampling per phase (forward, step) of each size.", default=2.0)
@records_option
@machine_option
@device_option
@out_option
def choose_check(
    count: int,
    seed: int,
    budget: float,
    runs: tuple[Path, ...],
    machine: str,
    device: str,
    out: Path,
) -> None:
    """Test `choose`: choose for random sizes without records, then measure these sizes.

    A choice is right if the chosen variant's step takes at most 10% longer than the fastest one.
    The exit code is 1 if fewer than 19 in 20 choices are right, or more than a quarter are unclear.
    """
    device = choose_device(device)
    here = Host.of(current_environment(machine), device)
    predictions = predict(load_runs(runs), device, machine, here, count, seed)
    plan = plan_of(predictions, budget, default_threads(), machine)
    make_folder(out)
    # These records are not kept, because the next test would find its sizes among them.
    with tempfile.TemporaryDirectory(prefix="lossbench-") as folder:
        start_run(Path(folder), plan)
        with watching(plan, Path(folder)) as watcher:
            run(Path(folder), plan, watcher)
        records = read_records(Path(folder))
    report = TrialReport(
        environment=records[0].environment,
        made=now(),
        seed=seed,
        budget_seconds=budget,
        trials=tuple(trial_of(prediction, records) for prediction in predictions),
    )
    finish(report, trial_table(report), out, "choose")
