"""Checkpointing beyond the situations: what is refused, and what is kept."""

import pytest
import torch

from lossbench.bench.training_loop.recomputation import checkpointed_call
from tests.makers.training import MOVING


@MOVING
def test_a_second_reentrant_call_is_refused_where_the_first_is_not_known(trainee):
    net = trainee.net()
    calls = [checkpointed_call(net, *trainee.draw(i), reentrant=True) for i in range(2)]
    with pytest.raises(RuntimeError, match="checkpoint with use_reentrant=False"):
        sum(calls).backward()


@MOVING
def test_keeps_nothing_once_the_graph_is_gone(trainee):
    module = trainee.head()
    embeddings, labels = trainee.draw(dtype=torch.float32)
    module(embeddings.requires_grad_(), labels)[0].backward()
    (hook,) = (h.__self__ for h in module._forward_hooks.values() if hasattr(h, "__self__"))
    assert hook._calls == []
    assert hook._last is None
    assert hook._entered is None
