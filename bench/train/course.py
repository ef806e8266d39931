"""Train one experiment: the reference, the reference with other rounding, and a variant."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossbench import impls
from lossbench.bench.measure.agreement import FACTOR, rounding_band
from lossbench.bench.measure.trajectory import Path, loss_gaps
from lossbench.bench.train.batches import schedule
from lossbench.bench.train.experiment import Experiment
from lossbench.bench.train.model import Model, deterministic, mirrored_images, optimizer_of
from lossbench.impls.registry import REFERENCE

Gaps = TypeVar("Gaps", Tensor, NDArray[np.float64])


@dataclass(frozen=True)
class Control:
    """A change to a training that changes nothing but its rounding.

    Attributes:
        dtype: dtype of the computation.
        mirrored: whether the features are in reverse order.
        turned: whether the samples of a batch are in reverse order.
    """

    dtype: torch.dtype = torch.float32
    mirrored: bool = False
    turned: bool = False


PLAIN = Control()
EXACT = Control(torch.float64)
CONTROLS = (PLAIN, Control(mirrored=True), Control(turned=True))


@dataclass(frozen=True)
class Course:
    """The reference's training, with which every variant of an experiment is compared.

    Attributes:
        exact: the reference's path in float64, over the compared steps.
        reference: the reference's path in float32, over all steps.
        rounding: largest gap so far between the exact path and the reference in float32, over
            three orders of its sums, ``[steps]``; relative to the largest loss on the exact path.
    """

    exact: Path
    reference: Path
    rounding: Tensor

    @property
    def allowed(self) -> Tensor:
        """The largest gap of a variant that rounding can explain, ``[steps]``."""
        return allowed_gaps(self.rounding)


def allowed_gaps(rounding: Gaps) -> Gaps:
    """Return the largest gap that rounding can explain, from the reference's own gap."""
    return FACTOR * rounding + rounding_band(torch.float32)


@lru_cache(maxsize=1)
def course_of(experiment: Experiment, compared_steps: int) -> Course:
    """Return the course of an experiment, computed once per process for all of its variants.

    Raises:
        UsageError: if the images cannot be read.
    """
    reference = impls.implementation(experiment.loss, REFERENCE)
    exact = train_course(experiment, reference, EXACT, compared_steps)
    whole = train_course(experiment, reference, PLAIN)
    others = [train_course(experiment, reference, c, compared_steps) for c in CONTROLS[1:]]
    gaps = [gaps_beside(path, exact) for path in (whole, *others)]
    return Course(exact, whole, torch.stack(gaps).amax(0).cummax(0).values)


def gaps_beside(path: Path, exact: Path) -> Tensor:
    """Return the gaps between a path and the exact one, over the exact one's steps, ``[steps]``."""
    return loss_gaps(path.losses[: len(exact.losses)], exact.losses)


def train_course(
    experiment: Experiment,
    implementation: impls.Implementation,
    control: Control = PLAIN,
    steps: int | None = None,
) -> Path:
    """Return the path of a training: the objective at each step, and the model's state at the end.

    Args:
        experiment: the experiment to train.
        implementation: the implementation of its loss.
        control: the change to the computation.
        steps: number of steps to train; all by default.

    Raises:
        UsageError: if the images cannot be read.
    """
    with deterministic():
        walk = Walk(experiment, implementation, control)
        losses = [walk.step() for _ in walk.rows[:steps]]
        return Path(torch.tensor(losses, dtype=torch.float64), walk.state)


class Walk:
    """A training, run step by step inside ``deterministic``."""

    def __init__(
        self,
        experiment: Experiment,
        implementation: impls.Implementation,
        control: Control = PLAIN,
    ) -> None:
        """Start at the initial state, which is the same for all implementations of a loss."""
        self.control = control
        self.model = Model(experiment, implementation)
        self.model.load_state_dict(self._turned_round(self.model.state_dict()))
        self.model.to(experiment.device, control.dtype)
        self._data = experiment.dataset().train
        self.rows = self._order(experiment, schedule(experiment))
        self._optimizer = optimizer_of(experiment, self.model)
        self._taken = 0

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return the images and labels of the next step."""
        rows = self.rows[self._taken]
        return self._data.images[rows].to(self.control.dtype), self._data.labels[rows]

    def step(self) -> float:
        """Take a step, and return the objective before it."""
        self._optimizer.zero_grad()
        objective = self.model(*self.batch())
        objective.backward()
        self._optimizer.step()
        self._taken += 1
        return float(objective.detach())

    @property
    def state(self) -> dict[str, Tensor]:
        """A copy of the model's state, with the features in their original order."""
        state = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
        return self._turned_round(state)

    def _turned_round(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return mirrored_images(state) if self.control.mirrored else dict(state)

    def _order(self, experiment: Experiment, rows: Tensor) -> Tensor:
        if self.control.turned:
            # A pair has one image in each half, so each half is reversed by itself.
            parts = 2 if experiment.pairs else 1
            rows = torch.cat([part.flip(1) for part in rows.chunk(parts, 1)], 1)
        return rows.to(experiment.device)
