"""A user's module is adapted to a Loss's names."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lossbench import impls
from lossbench.impls import adapt


class Own(nn.Module):
    """The modified softmax, with its parameter ``W [C, D]`` in a submodule."""

    def __init__(self, people, dim, logits=False):
        super().__init__()
        self.head = nn.Module()
        self.head.W = nn.Parameter(torch.zeros(people, dim))
        self.logits = logits

    def forward(self, x, y):
        logits = F.linear(x, self.head.W)
        loss = F.cross_entropy(logits, y)
        return (loss, logits) if self.logits else loss


def inputs():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 2, generator=generator)
    return {"embeddings": x, "labels": torch.tensor([0, 2, 1, 0])}


@pytest.fixture
def pair():
    reference = impls.build("softmax", "reference", num_classes=3, embedding_dim=2)
    own = adapt("softmax", Own(3, 2), weight="head.W.T")
    own.load_state_dict(reference.state_dict())
    return reference, own


def test_values_and_gradients_are_the_reference_s(pair):
    reference, own = pair
    for module in pair:
        module(**inputs()).loss.backward()
    torch.testing.assert_close(own(**inputs()).loss, reference(**inputs()).loss)
    torch.testing.assert_close(own.weight.grad, reference.weight.grad)


def test_state_has_the_loss_s_names_and_shapes(pair):
    _, own = pair
    shapes = [{name: t.shape for name, t in module.state_dict().items()} for module in pair]
    assert shapes[0] == shapes[1]
    assert [name for name, _ in own.named_parameters()] == ["weight"]


def test_what_is_not_returned_is_none_and_a_tuple_is_in_order(pair):
    _, own = pair
    out = own(**inputs())
    assert type(out) is impls.loss("softmax").output
    assert out.logits is None
    both = adapt("softmax", Own(3, 2, logits=True), weight="head.W.T")
    assert both(**inputs()).logits.shape == (4, 3)


def test_inputs_may_be_given_by_position(pair):
    _, own = pair
    torch.testing.assert_close(own(*inputs().values()).loss, own(**inputs()).loss)


def test_it_can_be_copied_and_pickled_after_a_call(pair):
    _, own = pair
    loss = own(**inputs()).loss
    for other in (copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        assert torch.equal(other(**inputs()).loss, loss)


def test_it_is_one_graph_to_the_compiler(pair):
    _, own = pair
    compiled = torch.compile(own, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(**inputs()).loss, own(**inputs()).loss)


def test_a_parameter_that_is_not_there_is_told():
    with pytest.raises(ValueError, match=r"Own has no parameter 'W', only head\.W"):
        adapt("softmax", Own(3, 2), weight="W")
