"""Evaluation between training steps, and copies of a module by every way there is."""

import copy
import io
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import nn

from lossbench.bench.training_loop.situation import Situation
from lossbench.bench.training_loop.trainee import Trainee, check_same, state_of, take_step


def _evaluated(mode: Callable[[], AbstractContextManager[object]]) -> Callable[[Trainee], None]:
    """Return a check that evaluation in a mode moves nothing, and that training goes on."""

    def check(trainee: Trainee) -> None:
        net, moved = trainee.net(), trainee.loss.moved
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        take_step(net, trainee.draw(), optimizer)
        before = state_of(net)
        net.eval()
        with mode():
            net(*trainee.draw(1))
        net.train()
        after = state_of(net)
        if moved is not None and moved.in_evaluation:
            del before[f"head.{moved.name}"], after[f"head.{moved.name}"]
        check_same(after, before, exact=True)
        take_step(net, trainee.draw(2), optimizer)
        net.load_state_dict(state_of(trainee.net()))
        take_step(net, trainee.draw(3), optimizer)

    return check


def _pickled(module: nn.Module) -> nn.Module:
    return cast(nn.Module, pickle.loads(pickle.dumps(module)))


def _saved(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return cast(nn.Module, torch.load(file, weights_only=False))


def _loaded(module: nn.Module) -> nn.Module:
    """Return a new module with the state of another, by way of a file of weights only."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    fresh = copy.deepcopy(module)
    for tensor in fresh.state_dict().values():
        tensor.zero_()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    return fresh


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "pickle": _pickled,
    "torch.save": _saved,
    "weights_only load": _loaded,
}
"""Ways to copy a module, by the name of the situation."""


def _copied(duplicate: Callable[[nn.Module], nn.Module]) -> Callable[[Trainee], None]:
    """Return a check that a copy in mid-training goes on as the original."""

    def check(trainee: Trainee) -> None:
        net = trainee.net()
        take_step(net, trainee.draw(), torch.optim.SGD(net.parameters(), 0.1))
        twin = duplicate(net)
        for each in (net, twin):
            take_step(each, trainee.draw(1), torch.optim.SGD(each.parameters(), 0.1))
        check_same(state_of(twin), state_of(net), exact=True)

    return check


MODES = (
    Situation("eval, no_grad", "nothing moves; training goes on", _evaluated(torch.no_grad)),
    Situation(
        "eval, inference_mode", "nothing moves; training goes on", _evaluated(torch.inference_mode)
    ),
    *(
        Situation(name, "a copy in mid-training goes on as the original", _copied(duplicate))
        for name, duplicate in COPIES.items()
    ),
)
