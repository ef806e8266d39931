"""Checkpointing beyond the situations: what is refused, and what is kept."""

import pytest
import torch

from lossbench.bench.training_loop.recomputation import checkpointed_call
from lossbench.impls import recomputation
from tests.makers.training import MOVING


def _keeper_of(module):
    """Return what keeps the moved state: for the guarded forward, or for hooks."""
    if getattr(module, "moved_state", None) is not None:
        return module.moved_state
    (keeper,) = (h.__self__ for h in module._forward_hooks.values() if hasattr(h, "__self__"))
    return keeper


@MOVING
def test_a_second_reentrant_call_is_refused_where_the_first_is_not_known(trainee):
    net = trainee.net()
    calls = [checkpointed_call(net, *trainee.draw(i), reentrant=True) for i in range(2)]
    with pytest.raises(RuntimeError, match="checkpoint with use_reentrant=False"):
        sum(calls).backward()


@MOVING
def test_a_plain_step_keeps_nothing(trainee, monkeypatch):
    monkeypatch.setattr(recomputation, "Call", None)
    embeddings, labels = trainee.draw(dtype=torch.float32)
    trainee.head()(embeddings.requires_grad_(), labels)[0].backward()


@MOVING
def test_keeps_nothing_once_the_graph_is_gone(trainee):
    module = trainee.head()
    embeddings, labels = trainee.draw(dtype=torch.float32)
    with torch.autograd.graph.save_on_cpu():
        loss = module(embeddings.requires_grad_(), labels)[0]
    assert len(_keeper_of(module)._calls) == 1
    loss.backward()
    del loss
    keeper = _keeper_of(module)
    assert keeper._calls == []
    assert keeper._last is None
    assert keeper._entered is None
