"""Labels of every dtype, and last batches of one class, of one sample, or of none."""

from collections.abc import Callable

import torch
from torch import Tensor

from lossbench.bench.machine.replies import describe
from lossbench.bench.training_loop.situation import Situation
from lossbench.bench.training_loop.trainee import Trainee, check_same

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16)


def _every_integer(trainee: Trainee) -> None:
    embeddings, labels = trainee.draw(dtype=torch.float32)
    expected = {"loss": trainee.head()(embeddings, labels)[0]}
    for dtype in INTEGERS:
        check_same({"loss": trainee.head()(embeddings, labels.to(dtype))[0]}, expected, exact=True)


def _of_one_class(trainee: Trainee) -> tuple[Tensor, ...]:
    inputs = trainee.draw(dtype=torch.float32)
    if trainee.loss.inputs == "labelled":
        inputs[1].fill_(1)
    return inputs


def _of_one_sample(trainee: Trainee) -> tuple[Tensor, ...]:
    return trainee.draw(batch=1, dtype=torch.float32)


def _of_none(trainee: Trainee) -> tuple[Tensor, ...]:
    return trainee.draw(batch=0, dtype=torch.float32)


def outcome(trainee: Trainee, inputs: tuple[Tensor, ...]) -> Tensor | str:
    """Return the loss, or the error that refuses the inputs, in a line."""
    try:
        loss: Tensor = trainee.head()(*inputs)[0]
    except ValueError as error:
        return describe(error)
    return loss


def _as_the_reference(few: Callable[[Trainee], tuple[Tensor, ...]]) -> Callable[[Trainee], None]:
    def check(trainee: Trainee) -> None:
        inputs = few(trainee)
        expected, given = outcome(trainee.standard, inputs), outcome(trainee, inputs)
        if isinstance(expected, Tensor) and isinstance(given, Tensor):
            check_same({"loss": given}, {"loss": expected})
        elif isinstance(expected, Tensor) or isinstance(given, Tensor) or given != expected:
            raise AssertionError(f"gives {given}, the reference {expected}")

    return check


TAKEN = "taken or refused as by the reference"
BATCHES = (
    Situation(
        "label dtypes",
        "every integer dtype gives the same loss",
        _every_integer,
        applies=lambda trainee: trainee.loss.inputs == "labelled",
    ),
    Situation("batch of one class", TAKEN, _as_the_reference(_of_one_class)),
    Situation("batch of one sample", TAKEN, _as_the_reference(_of_one_sample)),
    Situation("empty batch", TAKEN, _as_the_reference(_of_none)),
)
