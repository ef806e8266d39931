"""What a training found, and the file that keeps it."""

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
    """A variant's training beside the reference's, from the same weights on the same batches.

    A gap is of the objective from the reference's in float64, relative to the largest on the way.

    Attributes:
        losses: the objective at each step.
        largest_gap: over the steps.
        parted: the first step, from 0, whose gap is more than rounding explains; ``None`` where
            there is none.
        gap: at that step; 0 where there is none.
        allowed: at that step the largest that rounding explains, else at the last.
        told: from this step on rounding explains a gap of ``TELLING``, so that the curve tells no
            more of the variant; the number of steps where it never does.
        fault: what the variant computed otherwise from the reference's own features and state, up
            to that step; ``None`` where it did not.
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

        One that stops being finite, where the reference does not, is no matter of rounding.
        """
        if self.parted is None:
            return "coincides"
        return "parts" if self.fault or math.isinf(self.largest_gap) else "rounding"


@dataclass(frozen=True)
class Trained:
    """What was seen of a variant.

    Attributes:
        variant: its name.
        status: ``trained``, or why not.
        reason: of any other status, in a line; of one that departs by its own word, that word.
        curve: where it was trained.
        share: of a training step; ``None`` where it was not timed.
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
        losses: the objective at each step, to the end.
        exact_losses: in float64, over the steps that variants are compared on.
        rounding: the largest gap so far of the reference itself in float32, over those steps.
        accuracy: on the test images, at the end.
        features: of the test images, at the end.
    """

    losses: tuple[float, ...]
    exact_losses: tuple[float, ...]
    rounding: tuple[float, ...]
    accuracy: Accuracy
    features: Features


@dataclass(frozen=True)
class Lesson:
    """What was found of one loss.

    Attributes:
        experiment: what was asked.
        objective: what was minimised, in a line.
        source: what the documents print of the recipe, and what is chosen here.
        reference: its training; ``None`` where there was none.
        reason: why there was none, in a line.
        variants: of every variant but the reference.
        reference_share: of a training step.
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
    """What a call of ``train`` found, loss by loss.

    Attributes:
        preset: the named experiment.
        environment: where and with what.
        made: when it began, ISO 8601 in UTC.
        lessons: a loss each, in the order in which they were done.
        schema: the version of this layout.
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
        UsageError: where it holds one already, or cannot be made.
    """
    if (folder / TRAINING).exists():
        raise UsageError(f"{folder} holds a training already; choose another --out")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_training(folder: Path, training: Training) -> None:
    """Write what was found, in one piece: a reader never sees half of it.

    Raises:
        UsageError: where the folder takes no more.
    """
    path = folder / TRAINING
    partial = path.with_suffix(".partial")
    with writing(path):
        partial.write_text(TrainingFile(training).model_dump_json() + "\n")
        os.replace(partial, path)
