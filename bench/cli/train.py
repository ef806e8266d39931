"""``train``: train a small network with each loss, as the documents do."""

from pathlib import Path

import click
from rich.text import Text

from lossbench import impls
from lossbench.bench.cli.kinds import FiniteRange, Folder, LossName
from lossbench.bench.cli.options import (
    device_option,
    threads_option,
    timeout_option,
    variants_option,
    with_option,
)
from lossbench.bench.errors import UsageError
from lossbench.bench.format import console
from lossbench.bench.limits import TRAINING_SECONDS
from lossbench.bench.paths import RUNS, new_folder
from lossbench.bench.run.plan import choose_device
from lossbench.bench.train.data import DIGITS
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.progress import watching_training
from lossbench.bench.train.recipes import PRESETS, TRAINED_LOSSES
from lossbench.bench.train.records import Training
from lossbench.bench.train.run import TrainPlan, check_plan, experiments_of, run_training
from lossbench.bench.train.table import LOSS_LEGEND, VARIANT_LEGEND, trained_table, variants_table


class TrainedLoss(LossName):
    """The name of a Loss that a network can be trained with; a distance is none."""

    def names(self) -> list[str]:
        """Return the names of the losses, in the catalogue's order."""
        return [loss.name for loss in impls.losses() if loss.kind == "loss"]


@click.command()
@click.option(
    "--preset", type=click.Choice(list(PRESETS)),
    help=" ".join(f"{name}: {preset.summary}." for name, preset in PRESETS.items()),
)  # fmt: skip
@click.option("--mnist", type=Folder, help="Folder of MNIST's IDX files, gzipped or not.")
@click.option(
    "--loss", "losses", type=TrainedLoss(), multiple=True, metavar="LOSS",
    help="Loss to train with, see `lossbench list`; can be given several times. By default those "
    "of the preset.",
)  # fmt: skip
@variants_option
@click.option(
    "--epochs", type=click.IntRange(1),
    help="Number of passes over the training images; by default the preset's.",
)  # fmt: skip
@click.option("--batch", type=click.IntRange(8), help="Batch size; by default the preset's.")
@click.option(
    "--lr", type=FiniteRange(0, min_open=True),
    help="Learning rate; by default that of the loss's recipe.",
)  # fmt: skip
@click.option(
    "--center-lr", type=FiniteRange(0),
    help="Learning rate of class centres, 0 to keep them fixed; by default that of the loss's "
    "recipe.",
)  # fmt: skip
@click.option(
    "--compare", type=click.IntRange(1), metavar="STEPS",
    help="Number of first steps over which a variant is compared with the reference; by default "
    "the preset's.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True,
    help="Seed of the initial weights and of the order of the images.",
)  # fmt: skip
@with_option
@device_option
@click.option(
    "--share/--no-share", default=True, show_default=True,
    help="Whether to measure the loss's share of the time of a training step.",
)  # fmt: skip
@threads_option("CPU threads that torch uses; on digits more threads do not help.", default=1)
@timeout_option("Seconds after which a training is given up.", default=TRAINING_SECONDS)
@click.option(
    "--out", type=Folder,
    help="Folder for the figures and training.json; by default results/runs/train- and the time.",
)  # fmt: skip
def train(
    preset: str | None,
    mnist: Path | None,
    losses: tuple[str, ...],
    variants: tuple[str, ...],
    epochs: int | None,
    batch: int | None,
    lr: float | None,
    center_lr: float | None,
    compare: int | None,
    seed: int,
    device: str,
    share: bool,
    threads: int,
    timeout: float,
    out: Path | None,
) -> None:
    """Train a small network with two-dimensional features on each loss, and plot the features.

    Every variant and the reference are trained from the same weights on the same batches. Their
    loss curves should coincide; otherwise the first step at which they differ is printed. The
    images are scikit-learn's digits, or MNIST from a folder.
    """
    name = choose_preset(preset, mnist)
    chosen = PRESETS[name]
    common = Experiment(
        loss=TRAINED_LOSSES[0],
        source=DIGITS if mnist is None else str(mnist),
        network=chosen.network,
        epochs=epochs or chosen.epochs,
        batch=batch or chosen.batch,
        rate=lr,
        center_rate=center_lr,
        seed=seed,
        device=choose_device(device),
    )
    plan = TrainPlan(
        preset=name,
        experiments=experiments_of(losses or chosen.losses, common),
        variants=variants,
        compared_steps=compare or chosen.compared_steps,
        share_seconds=0.3 if share else 0.0,
        threads=threads,
        timeout_seconds=timeout,
    )
    check_plan(plan)
    folder = out or new_folder(RUNS, "train-")
    try:
        with watching_training(len(plan.experiments)) as watcher:
            training = run_training(folder, plan, watcher)
    except KeyboardInterrupt:
        click.echo(f"stopped; what was done is in {folder}", err=True)
        raise
    print_training(training)
    click.echo(f"figures and training.json: {folder}", err=True)


def choose_preset(preset: str | None, mnist: Path | None) -> str:
    """Return the name of the preset that fits the images.

    Raises:
        UsageError: if the preset and the images contradict each other.
    """
    if preset == "mnist" and mnist is None:
        raise UsageError("--preset mnist needs --mnist DIR, the folder of MNIST's IDX files")
    if preset == "digits" and mnist is not None:
        raise UsageError("--preset digits takes no --mnist; choose mnist or center-resnet for it")
    return preset or ("digits" if mnist is None else "mnist")


def print_training(training: Training) -> None:
    """Print the tables of a training."""
    out = console()
    out.print(trained_table(training.lessons))
    out.print(Text(LOSS_LEGEND, "dim"), Text(""))
    if any(lesson.variants for lesson in training.lessons):
        out.print(variants_table(training.lessons))
        out.print(Text(VARIANT_LEGEND, "dim"))
    for lesson in training.lessons:
        for note in filter(None, (lesson.source, lesson.reason)):
            out.print(Text(f"  {lesson.experiment.loss}: {note}", "dim"))
