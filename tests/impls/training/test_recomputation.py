"""Checkpointing: a forward pass that runs twice gives one gradient, and moves state once."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from tests.makers.training import EVERY, MOVING, Net, draw, gradients, state


def trained(entrant, call, steps=2):
    """Return the gradients and the state after some backward passes."""
    net = Net(entrant)
    for index in range(steps):
        call(net, *draw(entrant.loss, index)).backward()
    return {**gradients(net), **state(net)}


def checkpointed(net, *inputs, reentrant):
    # Reentrant checkpointing needs an input with a gradient.
    first = inputs[0].clone().requires_grad_()
    return checkpoint(net, first, *inputs[1:], use_reentrant=reentrant)


@EVERY
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_step_is_a_step(entrant, reentrant):
    expected = trained(entrant, lambda net, *inputs: net(*inputs))
    given = trained(entrant, lambda net, *inputs: checkpointed(net, *inputs, reentrant=reentrant))
    torch.testing.assert_close(given, expected, rtol=0, atol=0)


@EVERY
def test_two_checkpointed_calls_in_one_backward_pass(entrant):
    def two(net, *inputs):
        views = [(inputs[0] + view, *inputs[1:]) for view in range(2)]
        return sum(call(net, *view) for view in views)

    def plain(net, *inputs):
        return net(*inputs)

    def again(net, *inputs):
        return checkpointed(net, *inputs, reentrant=False)

    call = plain
    expected = trained(entrant, two, steps=1)
    call = again
    torch.testing.assert_close(trained(entrant, two, steps=1), expected, rtol=1e-6, atol=1e-6)


@MOVING
def test_a_second_reentrant_call_is_refused_where_the_first_is_not_known(entrant):
    net = Net(entrant)
    calls = [checkpointed(net, *draw(entrant.loss, i), reentrant=True) for i in range(2)]
    with pytest.raises(RuntimeError, match="checkpoint with use_reentrant=False"):
        sum(calls).backward()


@MOVING
def test_keeps_nothing_once_the_graph_is_gone(entrant):
    module = entrant.head()
    embeddings, labels = draw(entrant.loss)
    module(embeddings.requires_grad_(), labels)[0].backward()
    (hook,) = (h.__self__ for h in module._forward_hooks.values() if hasattr(h, "__self__"))
    assert hook._calls == []
    assert hook._last is None
    assert hook._entered is None
