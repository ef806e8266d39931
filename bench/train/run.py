"""Trains what a plan asks for, loss by loss, and writes down each as it is done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.environment import current_environment
from lossbench.bench.machine.worker import Lost, Worker
from lossbench.bench.run.plan import choose_variants
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
    """Who is told how a training goes on."""

    def working(self, loss: str, task: str) -> None:
        """A task on a loss begins."""

    def done(self, lesson: Lesson) -> None:
        """A loss is done, and on the disk."""


@dataclass(frozen=True)
class TrainPlan:
    """What a call of ``train`` was asked to do.

    Attributes:
        preset: the named experiment.
        experiments: a loss each.
        variants: names that narrow those of each loss; empty for all that are not compiled.
        compared_steps: how many steps of a variant are held against the reference's.
        share_seconds: how long the share of a step is sampled, a loss; 0 for not at all.
        threads: that torch computes with.
        timeout_seconds: after how long without an answer a training is given up.
    """

    preset: str
    experiments: tuple[Experiment, ...]
    variants: tuple[str, ...]
    compared_steps: int
    share_seconds: float
    threads: int
    timeout_seconds: float

    def chosen(self, experiment: Experiment) -> tuple[str, ...]:
        """Return the variants to train of a loss, without the reference."""
        case = Case(
            experiment.loss, experiment.batch, FEATURES, IMAGE_CLASSES, device=experiment.device
        )
        names = choose_variants(case, self.variants, compiled=False)
        return tuple(name for name in names if name != REFERENCE)


def check_plan(plan: TrainPlan) -> None:
    """Refuse what cannot be trained, before anything is.

    Raises:
        UsageError: where the images cannot be read or are too few, or no loss has a variant.
    """
    for experiment in plan.experiments:
        experiment.dataset()
    names = [experiment.loss for experiment in plan.experiments]
    known = {i.variant: None for name in names for i in impls.implementations(name)}
    for variant in plan.variants:
        if variant not in known:
            raise UsageError(
                f"{', '.join(names)}: no variant {variant!r}; there are: {', '.join(known)}"
            )


def run_training(folder: Path, plan: TrainPlan, watcher: TrainWatcher) -> Training:
    """Train what a plan asks for, and return what was found.

    The folder gets ``training.json``, a figure of each loss, and the figures of all side by side.

    Raises:
        UsageError: where the folder holds a training, or cannot be written.
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
        # Of what was done by then, where it is stopped.
        for name, figure in draw_grids(training.lessons).items():
            save(figure, folder, name)
    return training


@dataclass(frozen=True)
class Teacher:
    """Asks a worker for everything of one loss."""

    worker: Worker
    plan: TrainPlan
    watcher: TrainWatcher
    experiment: Experiment

    def lesson(self) -> Lesson:
        """Return what was found of the loss; what fails costs its own part alone."""
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
    """Return the experiment of each loss, with its rates in figures: a recipe's may change."""
    named = [replace(common, loss=loss) for loss in losses]
    return tuple(
        replace(each, rate=each.learning_rate, center_rate=each.center_learning_rate)
        for each in named
    )
