"""Evaluation between training steps, and copies of a module by every way there is."""

import copy
import io
import pickle

import pytest
import torch

from tests.makers.training import EVERY, Entrant, Net, draw, entrants, state, step

COMPILED = pytest.mark.parametrize("entrant", entrants(compiled=True), ids=str)


@EVERY
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_evaluation_moves_nothing_and_training_goes_on(entrant, mode):
    net = Net(entrant)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    step(net, draw(entrant.loss), optimizer)
    before = state(net)
    net.eval()
    with mode():
        net(*draw(entrant.loss, 1))
    net.train()
    after = state(net)
    moved = entrant.loss.moved
    if moved is not None and moved.in_evaluation:
        del before[f"head.{moved.name}"], after[f"head.{moved.name}"]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    step(net, draw(entrant.loss, 2), optimizer)
    net.load_state_dict(state(Net(entrant)))
    step(net, draw(entrant.loss, 3), optimizer)


def saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def loaded(module):
    """Return a new module with the state of another, by way of a file of weights only."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    fresh = copy.deepcopy(module)
    for tensor in fresh.state_dict().values():
        tensor.zero_()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    return fresh


COPIES = pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), saved, loaded],
    ids=["deepcopy", "pickle", "save", "weights_only"],
)


@EVERY
@COPIES
def test_a_copy_in_mid_training_goes_on_as_the_original(entrant, duplicate):
    net = Net(entrant)
    step(net, draw(entrant.loss), torch.optim.SGD(net.parameters(), 0.1))
    twin = duplicate(net)
    for each in (net, twin):
        each.zero_grad()
        step(each, draw(entrant.loss, 1), torch.optim.SGD(each.parameters(), 0.1))
    torch.testing.assert_close(state(twin), state(net), rtol=0, atol=0)


@COMPILED
@COPIES
def test_a_copy_of_a_compiled_module_has_its_class_and_state(entrant, duplicate):
    module = entrant.head()
    twin = duplicate(module)
    assert type(twin) is type(module)
    assert list(twin._forward_pre_hooks) == list(module._forward_pre_hooks)
    torch.testing.assert_close(state(twin), state(module), rtol=0, atol=0)


def test_a_pickled_compiled_module_computes_what_it_did():
    (entrant,) = (e for e in entrants(compiled=True) if str(e) == "contrastive-fused+compile")
    module = entrant.head()
    inputs = draw(entrant.loss)
    twin = pickle.loads(pickle.dumps(module))
    assert torch.equal(twin(*inputs)[0], module(*inputs)[0])
    assert isinstance(entrant, Entrant)
