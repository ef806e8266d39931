"""Copies of compiled modules by every way there is."""

import pickle

import pytest
import torch

from lossbench.bench.training_loop.modes import COPIES
from lossbench.bench.training_loop.trainee import Trainee, state_of
from tests.makers.training import trainees


@pytest.mark.parametrize("trainee", trainees(compiled=True), ids=str)
@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_compiled_module_has_its_class_and_state(trainee, duplicate):
    module = trainee.head()
    twin = duplicate(module)
    assert type(twin) is type(module)
    assert list(twin._forward_pre_hooks) == list(module._forward_pre_hooks)
    torch.testing.assert_close(state_of(twin), state_of(module), rtol=0, atol=0)


def test_a_pickled_compiled_module_computes_what_it_did():
    trainee = Trainee("contrastive", "fused+compile")
    module, inputs = trainee.head(), trainee.draw(dtype=torch.float32)
    twin = pickle.loads(pickle.dumps(module))
    assert torch.equal(twin(*inputs)[0], module(*inputs)[0])
