"""Run a training plan loss by loss, and store the results of each loss as soon as it is done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.run.plan import check_variants, choose_variants
from lossbench.bench.train.curves import train_reference, train_variant
from lossbench.bench.train.data import IMAGE_CLASSES
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.figures import draw_grids, draw_lesson, save
from lossbench.bench.train.networks import FEATURES
from lossbench.bench.train.records import (
    Lesson,
    Trained,
    Training,
    TrainStatus,
    open_folder,
    write_training,
)
from lossbench.bench.train.share import LossShare, measure_shares
from lossbench.impls.registry import REFERENCE


class TrainWatcher(Protocol):
    """A receiver of the progress of a training."""

    def working(self, loss: str, task: str) -> None:
        """Receive the task of a loss that begins."""

    def done(self, lesson: Lesson) -> None:
        """Receive the results of a loss, once they are on the disk."""


@dataclass(frozen=True)
class TrainPlan:
    """The settings of a call of ``train``.

    Attributes:
        preset: name of the experiment.
        experiments: one experiment per loss.
        variants: names of the variants to train; empty for all that are not compiled.
        compared_steps: number of first steps over which variants are compared with the reference.
        share_seconds: time to sample the share of a step, per loss; 0 to skip it.
        threads: number of threads that torch computes with.
        timeout_seconds: time without an answer after which a training is given up.
    """

    preset: str
    experiments: tuple[Experiment, ...]
    variants: tuple[str, ...]
    compared_steps: int
    share_seconds: float
    threads: int
    timeout_seconds: float

    def chosen(self, experiment: Experiment) -> tuple[str, ...]:
        """Return the names of the variants to train for a loss, without the reference."""
        case = Case(
            experiment.loss, experiment.batch, FEATURES, IMAGE_CLASSES, device=experiment.device
        )
        names = choose_variants(case, self.variants, compiled=False)
        return tuple(name for name in names if name != REFERENCE)


def check_plan(plan: TrainPlan) -> None:
    """Check before the first training that the plan can be run.

    Raises:
        UsageError: if the images cannot be read or are too few, or no loss has a named variant.
    """
    for experiment in plan.experiments:
        experiment.dataset()
    check_variants([experiment.loss for experiment in plan.experiments], plan.variants)


def run_training(folder: Path, plan: TrainPlan, watcher: TrainWatcher) -> Training:
    """Run the plan, and return the results.

    The folder gets ``training.json``, a figure of each loss, and figures of all losses side by
    side.

    Raises:
        UsageError: if the folder holds a training already, or cannot be written.
    """
    open_folder(folder)
    made = datetime.now(UTC).isoformat(timespec="seconds")
    training = Training(plan.preset, current_environment(threads=plan.threads), made)
    write_training(folder, training)
    worker = Worker(plan.threads)
    try:
        for experiment in plan.experiments:
            lesson = Teacher(worker, plan, watcher, experiment).lesson()
            training = replace(training, lessons=(*training.lessons, lesson))
            write_training(folder, training)
            save(draw_lesson(lesson), folder, experiment.loss)
            watcher.done(lesson)
    finally:
        worker.close()
        # A training that is stopped early still gets the figures of the losses that are done.
        for name, figure in draw_grids(training.lessons).items():
            save(figure, folder, name)
    return training


@dataclass(frozen=True)
class Teacher:
    """Has a worker train and time the reference and the variants of one loss."""

    worker: Worker
    plan: TrainPlan
    watcher: TrainWatcher
    experiment: Experiment

    def lesson(self) -> Lesson:
        """Return the results of the loss; a failure leaves out only its own part."""
        experiment, recipe = self.experiment, self.experiment.recipe
        lesson = Lesson(experiment, recipe.objective(experiment.loss), recipe.source)
        self.watcher.working(experiment.loss, REFERENCE)
        try:
            reference = self.worker.ask(
                self.plan.timeout_seconds, train_reference, experiment, self.plan.compared_steps
            )
        except Lost as lost:
            return replace(lesson, reason=f"{lost.status}: {lost}")
        trained = [self._trained(variant) for variant in self.plan.chosen(experiment)]
        shares = self._shares([one.variant for one in trained if one.status == "trained"])
        return replace(
            lesson,
            reference=reference,
            reference_share=shares.get(REFERENCE),
            variants=tuple(replace(one, share=shares.get(one.variant)) for one in trained),
        )

    def _trained(self, variant: str) -> Trained:
        implementation = impls.implementation(self.experiment.loss, variant)
        reason = implementation.unsupported(self.experiment.device, torch.float32)
        if reason is not None:
            return Trained(variant, "unsupported", reason)
        self.watcher.working(self.experiment.loss, variant)
        try:
            curve = self.worker.ask(
                self.plan.timeout_seconds,
                train_variant,
                self.experiment,
                variant,
                self.plan.compared_steps,
            )
        except Lost as lost:
            return Trained(variant, cast(TrainStatus, lost.status), str(lost))
        return Trained(variant, "trained", implementation.departs, curve)

    def _shares(self, variants: Sequence[str]) -> dict[str, LossShare]:
        if not self.plan.share_seconds:
            return {}
        self.watcher.working(self.experiment.loss, "the loss's share of a step")
        try:
            return self.worker.ask(
                self.plan.timeout_seconds,
                measure_shares,
                self.experiment,
                (REFERENCE, *variants),
                self.plan.share_seconds,
            )
        except Lost:
            return {}


def experiments_of(losses: Iterable[str], common: Experiment) -> tuple[Experiment, ...]:
    """Return the experiment of each loss, with the recipe's rates filled in.

    A recipe may change later; the stored experiment then still holds the rates that were used.
    """
    named = [replace(common, loss=loss) for loss in losses]
    return tuple(
        replace(each, rate=each.learning_rate, center_rate=each.center_learning_rate)
        for each in named
    )
