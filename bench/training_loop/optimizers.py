"""Every optimizer, clipping, and averaged copies."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lossbench.bench.training_loop.situation import Situation
from lossbench.bench.training_loop.trainee import Trainee, check_same, state_of, take_step
from lossbench.impls.torch_release import running_release

Make = Callable[[Iterable[Tensor]], torch.optim.Optimizer]

# The first release of torch that clips sparse gradients.
CLIPS_SPARSE = (2, 14)
SPARSE: tuple[Make, ...] = (
    lambda parameters: torch.optim.SGD(parameters, 0.02),
    lambda parameters: torch.optim.SGD(parameters, 0.02, momentum=0.9, nesterov=True),
    lambda parameters: torch.optim.Adagrad(parameters, 0.05),
)
"""Optimizers that take sparse gradients as well as dense ones."""

DENSE: tuple[Make, ...] = (
    lambda parameters: torch.optim.SGD(parameters, 0.02, weight_decay=0.01),
    lambda parameters: torch.optim.AdamW(parameters, 0.01, foreach=True),
    lambda parameters: torch.optim.AdamW(parameters, 0.01, fused=True),
)
"""Optimizers that take dense gradients alone."""


def _trained(
    trainee: Trainee, dtype: torch.dtype, make: Make, *, clip: bool = False
) -> dict[str, Tensor]:
    """Return the state after three steps."""
    net = trainee.net().to(dtype)
    optimizer = make(list(net.parameters()))
    for index in range(3):
        optimizer.zero_grad()
        net(*trainee.draw(index, dtype=dtype)).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
    return state_of(net)


def check_optimizer(trainee: Trainee, make: Make, *, clip: bool = False) -> None:
    """Check that an optimizer trains a trainee as it trains the standard.

    Raises:
        AssertionError: where it does not.
    """
    given, expected = (
        _trained(each, trainee.dtype, make, clip=clip) for each in (trainee, trainee.standard)
    )
    # Adam divides small gradients by themselves, and magnifies their rounding.
    check_same(given, expected, loose=10)


def _sparse_too(trainee: Trainee) -> None:
    for make in SPARSE:
        check_optimizer(trainee, make)


def _dense(trainee: Trainee) -> None:
    for make in DENSE:
        check_optimizer(trainee, make)


def _clipped(trainee: Trainee) -> None:
    check_optimizer(trainee, SPARSE[0], clip=True)


def _sparse_adam(trainee: Trainee) -> None:
    net = trainee.net()
    before = state_of(net)["head.centers"]
    inputs = trainee.draw()
    take_step(net, inputs, torch.optim.SparseAdam(list(net.head.parameters())))
    moved = (state_of(net)["head.centers"] != before).any(1).nonzero().flatten()
    if set(moved.tolist()) != set(inputs[1].tolist()):
        raise AssertionError("SparseAdam moves other centres than those of the batch")


def _averaged(trainee: Trainee) -> None:
    net = trainee.net()
    average = torch.optim.swa_utils.AveragedModel(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.02)
    seen = []
    for index in range(2):
        take_step(net, trainee.draw(index), optimizer)
        average.update_parameters(net)
        seen.append(state_of(net))
    expected = {name: (seen[0][name] + seen[1][name]) / 2 for name, _ in net.named_parameters()}
    check_same(dict(average.module.named_parameters()), expected)
    if not torch.isfinite(average.module(*trainee.draw())):
        raise AssertionError("the averaged copy's loss is not finite")


OPTIMIZERS = (
    Situation("SGD, momentum, Adagrad", "three steps each, as with the reference", _sparse_too),
    Situation("weight decay, AdamW", "foreach and fused too", _dense, limit="optimizers"),
    Situation(
        "clip_grad_norm_",
        "three clipped steps of SGD",
        _clipped,
        limit="" if running_release() >= CLIPS_SPARSE else "optimizers",
    ),
    Situation(
        "SparseAdam",
        "moves the centres of the batch alone",
        _sparse_adam,
        applies=lambda trainee: trainee.implementation.sparse and not trainee.moves,
    ),
    Situation("EMA copy", "AveragedModel follows the parameters and can be called", _averaged),
)
