"""The results of a training, and the file that stores them."""

import math
import os
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, RootModel
from pydantic.dataclasses import dataclass

from lossbench.bench.errors import UsageError, writing
from lossbench.bench.machine.environment import Environment
from lossbench.bench.train.accuracy import Accuracy, Features
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.lockstep import Fault
from lossbench.bench.train.share import LossShare

TRAINING = "training.json"
TRAIN_SCHEMA = 1
TELLING = 0.01

CourseVerdict = Literal["coincides", "rounding", "parts"]
TrainStatus = Literal["trained", "unsupported", "failed", "crashed", "oom", "timeout"]


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Curve:
    """A variant's training compared with the reference's, with the same weights and batches.

    A gap is the difference between an objective and the reference's in float64, relative to the
    largest objective of the latter.

    Attributes:
        losses: objective at each step.
        largest_gap: largest gap over the steps.
        parted: first step, from 0, at which the gap is larger than rounding explains; ``None``
            if there is no such step.
        gap: gap at the step of parting; 0 without such a step.
        allowed: largest gap that rounding explains, at the step of parting or else the last step.
        told: number of first steps at which ``allowed`` is at most ``TELLING``; after them
            rounding alone may part the curves, so the rest says nothing about the variant.
        fault: first wrong result from the reference's own features and state, up to the step of
            parting; ``None`` if all were right.
    """

    losses: tuple[float, ...]
    largest_gap: float
    parted: int | None = None
    gap: float = 0.0
    allowed: float = 0.0
    told: int = 0
    fault: Fault | None = None

    @property
    def verdict(self) -> CourseVerdict:
        """Whether the curves coincide, part by rounding that training amplifies, or by a fault.

        Rounding cannot explain a curve that stops being finite while the reference stays finite.
        """
        if self.parted is None:
            return "coincides"
        return "parts" if self.fault or math.isinf(self.largest_gap) else "rounding"


@dataclass(frozen=True)
class Trained:
    """The results of one variant.

    Attributes:
        variant: name of the variant.
        status: ``trained``, or the kind of failure.
        reason: reason of a failure, in one line; for a trained variant that is declared not equal
            to the loss, the declared reason.
        curve: curve of a trained variant; otherwise ``None``.
        share: the loss's share of a training step; ``None`` if it was not timed.
    """

    variant: str
    status: TrainStatus
    reason: str = ""
    curve: Curve | None = None
    share: LossShare | None = None


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class ReferenceRun:
    """The reference's training.

    Attributes:
        losses: objective at each step, over all steps.
        exact_losses: objective in float64, over the steps at which variants are compared.
        rounding: largest gap so far of the reference itself in float32, over the same steps.
        accuracy: accuracy on the test images, at the end.
        features: features of the test images, at the end.
    """

    losses: tuple[float, ...]
    exact_losses: tuple[float, ...]
    rounding: tuple[float, ...]
    accuracy: Accuracy
    features: Features


@dataclass(frozen=True)
class Lesson:
    """The results of one loss.

    Attributes:
        experiment: settings of the training.
        objective: minimised objective, as text.
        source: note on the parts of the recipe that the documents print, and those chosen here.
        reference: training of the reference; ``None`` if it failed.
        reason: reason of the failure, in one line.
        variants: results of every variant but the reference.
        reference_share: the reference's share of a training step; ``None`` if it was not timed.
    """

    experiment: Experiment
    objective: str
    source: str = ""
    reference: ReferenceRun | None = None
    reason: str = ""
    variants: tuple[Trained, ...] = ()
    reference_share: LossShare | None = None


@dataclass(frozen=True)
class Training:
    """The results of a call of ``train``, loss by loss.

    Attributes:
        preset: name of the experiment.
        environment: machine and software of the training.
        made: start of the training, ISO 8601 in UTC.
        lessons: results of each loss, in the order of training.
        schema: version of this layout.
    """

    preset: str
    environment: Environment
    made: str
    lessons: tuple[Lesson, ...] = ()
    schema: int = TRAIN_SCHEMA


class TrainingFile(RootModel[Training]):
    """A Training as JSON."""


def open_folder(folder: Path) -> None:
    """Make the folder of a training.

    Raises:
        UsageError: if it holds a training already, or cannot be made.
    """
    if (folder / TRAINING).exists():
        raise UsageError(f"{folder} holds a training already; choose another --out")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_training(folder: Path, training: Training) -> None:
    """Write the results in one piece, so that a reader never sees half of the file.

    Raises:
        UsageError: if the file cannot be written.
    """
    path = folder / TRAINING
    partial = path.with_suffix(".partial")
    with writing(path):
        partial.write_text(TrainingFile(training).model_dump_json() + "\n")
        os.replace(partial, path)
