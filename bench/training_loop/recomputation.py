"""Checkpointing: a forward pass that runs twice gives one gradient, and moves state once."""

from collections.abc import Callable
from functools import partial

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lossbench.bench.training_loop.situation import Situation
from lossbench.bench.training_loop.trainee import (
    LoopNet,
    Trainee,
    check_same,
    gradients_of,
    state_of,
)

Call = Callable[..., Tensor]


def plain_call(net: LoopNet, *inputs: Tensor) -> Tensor:
    """Return the loss without checkpointing."""
    return net(*inputs)  # type: ignore[no-any-return]


def checkpointed_call(net: LoopNet, *inputs: Tensor, reentrant: bool) -> Tensor:
    """Return the loss, its graph thrown away and computed again in the backward pass."""
    # Reentrant checkpointing needs an input with a gradient.
    first = inputs[0].clone().requires_grad_()
    return checkpoint(net, first, *inputs[1:], use_reentrant=reentrant)  # type: ignore[no-any-return]


def _two_views(call: Call, net: LoopNet, *inputs: Tensor) -> Tensor:
    first, second = (call(net, inputs[0] + view, *inputs[1:]) for view in range(2))
    return first + second


def _trained(trainee: Trainee, call: Call) -> dict[str, Tensor]:
    """Return the gradients and the state after two backward passes."""
    net = trainee.net()
    for index in range(2):
        loss = call(net, *trainee.draw(index))
        loss.backward()  # type: ignore[no-untyped-call]
    return gradients_of(net) | state_of(net)


def _checkpointed(*, reentrant: bool) -> Callable[[Trainee], None]:
    def check(trainee: Trainee) -> None:
        again = partial(checkpointed_call, reentrant=reentrant)
        check_same(_trained(trainee, again), _trained(trainee, plain_call), exact=True)

    return check


def _two_checkpointed(trainee: Trainee) -> None:
    again = partial(_two_views, partial(checkpointed_call, reentrant=False))
    check_same(_trained(trainee, again), _trained(trainee, partial(_two_views, plain_call)))


def _same_batch_checkpointed(trainee: Trainee) -> None:
    again = partial(checkpointed_call, reentrant=False)
    given, expected = (_trained_twice(trainee, call) for call in (again, plain_call))
    check_same(given, expected)


def _trained_twice(trainee: Trainee, call: Call) -> dict[str, Tensor]:
    """Return the gradients and the state after two calls with one batch, then their backward."""
    net, inputs = trainee.net(), trainee.draw()
    for loss in [call(net, *inputs) for _ in range(2)]:
        loss.backward()  # type: ignore[no-untyped-call]
    return gradients_of(net) | state_of(net)


ONCE = "the gradients of a plain step; state moves once"
RECOMPUTATION = (
    Situation("checkpoint", ONCE, _checkpointed(reentrant=False), limit="checkpointing"),
    Situation("checkpoint, reentrant", ONCE, _checkpointed(reentrant=True), limit="checkpointing"),
    Situation("two checkpoints", f"{ONCE} a call", _two_checkpointed, limit="checkpointing"),
    Situation(
        "checkpoints of one batch",
        f"{ONCE} a call, although both calls have the same inputs",
        _same_batch_checkpointed,
        limit="checkpointing",
    ),
)
