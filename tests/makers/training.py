"""Every implementation of lossbench in a training loop, as parameters of tests."""

import pytest

from lossbench import impls
from lossbench.bench.training_loop.trainee import trainees_of

BATCH, DIM, CLASSES = 12, 8, 5


def trainees(*, compiled=False):
    """Return the trainees of every Loss, without those of third parties."""
    every = (each for loss in impls.losses() for each in trainees_of(loss.name, compiled=compiled))
    return [trainee for trainee in every if not trainee.foreign]


TRAINEES = trainees()
EVERY = pytest.mark.parametrize("trainee", TRAINEES, ids=str)
MOVING = pytest.mark.parametrize("trainee", [t for t in TRAINEES if t.moves], ids=str)
PARAMETRIC = pytest.mark.parametrize(
    "trainee", [t for t in TRAINEES if t.loss.has_classes], ids=str
)
