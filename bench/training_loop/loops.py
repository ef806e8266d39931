"""What a loop does with one module: accumulate, freeze, call twice, keep the graph, exchange."""

import copy
from collections.abc import Callable

import torch

from lossbench.bench.training_loop.situation import Situation
from lossbench.bench.training_loop.trainee import (
    LoopNet,
    Trainee,
    check_same,
    gradients_of,
    state_of,
    take_step,
    trainees_of,
)

Loop = Callable[[LoopNet, Trainee], None]


def _accumulate(net: LoopNet, trainee: Trainee) -> None:
    for index in range(3):
        (net(*trainee.draw(index)) / 3).backward()


def _call_twice(net: LoopNet, trainee: Trainee) -> None:
    (2 * net(*trainee.draw()) + net(*trainee.draw(1))).backward()


def _share_embedding(net: LoopNet, trainee: Trainee) -> None:
    first, *others = trainee.draw()
    rows = net.backbone(first)
    sides = [rows, *(net.backbone(x) for x in others[: net.sides - 1])]
    given = net.head(*sides, *others[net.sides - 1 :])[0].sum()
    (given + rows.square().sum() + 3 * given).backward()


def _retain(net: LoopNet, trainee: Trainee) -> None:
    given = net(*trainee.draw())
    given.backward(retain_graph=True)
    given.backward()


def _freeze_backbone(net: LoopNet, trainee: Trainee) -> None:
    net.backbone.requires_grad_(False)
    given = net(*trainee.draw())
    if given.requires_grad:
        given.backward()


def _freeze_head(net: LoopNet, trainee: Trainee) -> None:
    net.head.requires_grad_(False)
    net(*trainee.draw()).backward()


def _as_the_standard(loop: Loop) -> Callable[[Trainee], None]:
    """Return a check that a loop leaves the gradients and the state of the standard."""

    def check(trainee: Trainee) -> None:
        left = []
        for each in (trainee, trainee.standard):
            net = each.net().to(trainee.dtype)
            loop(net, trainee)
            left.append(gradients_of(net) | state_of(net))
        check_same(*left)

    return check


def _in_mid_training(trainee: Trainee, dtype: torch.dtype) -> tuple[LoopNet, torch.optim.Optimizer]:
    """Return a net and its optimizer after two steps."""
    net = trainee.net().to(dtype)
    optimizer = torch.optim.Adagrad(net.parameters(), 0.05)
    for index in range(2):
        take_step(net, trainee.draw(index, dtype=dtype), optimizer)
    return net, optimizer


def hand_over(before: Trainee, after: Trainee) -> None:
    """Check that one variant goes on where another stopped, with its state and its optimizer's.

    Raises:
        AssertionError: where the next step leaves another state than without the exchange.
    """
    dtype = torch.float32 if torch.float32 in (before.dtype, after.dtype) else torch.float64
    net, optimizer = _in_mid_training(before, dtype)
    heir = after.net().to(dtype)
    heir.load_state_dict(state_of(net))
    heir_optimizer = torch.optim.Adagrad(heir.parameters(), 0.05)
    heir_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    inputs = before.draw(2, dtype=dtype)
    take_step(net, inputs, optimizer)
    take_step(heir, inputs, heir_optimizer)
    # Adagrad divides small gradients by themselves, and magnifies their rounding.
    check_same(state_of(heir), state_of(net), loose=10)


def _exchange(trainee: Trainee) -> None:
    for other in trainees_of(trainee.name):
        alike = other.arguments == trainee.arguments and not other.implementation.departs
        if alike and not other.foreign and other.variant != trainee.variant:
            hand_over(trainee, other)
            hand_over(other, trainee)


LOOPS = (
    Situation("accumulation", "three backward passes, one gradient", _as_the_standard(_accumulate)),
    Situation("two forwards", "a weighted sum of two calls", _as_the_standard(_call_twice)),
    Situation("shared embedding", "a second loss on the rows", _as_the_standard(_share_embedding)),
    Situation(
        "retain_graph",
        "two backward passes of one graph",
        _as_the_standard(_retain),
        limit="retain-graph",
    ),
    Situation("frozen backbone", "the head alone is trained", _as_the_standard(_freeze_backbone)),
    Situation("frozen head", "the backbone alone is trained", _as_the_standard(_freeze_head)),
    Situation(
        "state exchange",
        "parameters and Adagrad's sums handed to every variant in mid-training, and back",
        _exchange,
        applies=lambda trainee: not trainee.implementation.departs,
    ),
)
