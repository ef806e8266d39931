"""The check of inputs: cheap for usual ones, and the words for all others."""

import pytest
import torch
from torch import nn

from lossbench import impls
from lossbench.impls.checks import InputCheck, input_check
from tests.makers.training import EVERY, TRAINEES

USUAL = pytest.mark.usefixtures("only_usual")
REFUSING = [t for t in TRAINEES if t.implementation.refuses_labels]


@pytest.fixture
def only_usual(monkeypatch):
    """Fail where a check takes the slow way."""

    def slow(*_):
        raise AssertionError("took the slow way")

    monkeypatch.setattr(InputCheck, "_checked", slow)


@USUAL
@EVERY
def test_usual_inputs_take_the_fast_way(trainee):
    inputs = trainee.draw(dtype=torch.float32)
    trainee.head()(*inputs)
    trainee.head()(**dict(zip(trainee.loss.input_names, inputs, strict=True)))


@USUAL
@pytest.mark.parametrize("name", ["contrastive", "contrastive_whole_batch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
def test_pairs_of_zeros_and_ones_take_the_fast_way(name, dtype):
    check = input_check(impls.loss(name), {}, reads_labels=True)
    same = torch.tensor([0, 1, 1, 0]).to(dtype)
    x0, x1 = torch.randn(2, 4, 3)
    assert check(None, (x0, x1, same), {}) is None
    assert check(None, (x0, x1, -0.0 * same), {}) is None


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8])
def test_pairs_of_other_dtypes_are_taken(dtype):
    check = input_check(impls.loss("contrastive"), {}, reads_labels=True)
    x0, x1 = torch.randn(2, 4, 3)
    assert check(None, (x0, x1, torch.tensor([0, 1, 1, 0]).to(dtype)), {}) is None


@USUAL
@pytest.mark.parametrize("ignored", [-100, 2])
@pytest.mark.parametrize("reads", [True, False])
def test_ignored_labels_take_the_fast_way(ignored, reads):
    arguments = {"num_classes": 5, "embedding_dim": 3, "ignore_index": ignored}
    check = input_check(impls.loss("softmax"), arguments, reads_labels=reads)
    assert check(None, (torch.randn(4, 3), torch.tensor([0, ignored, 4, ignored])), {}) is None
    assert check(None, (torch.randn(2, 3), torch.tensor([ignored, ignored])), {}) is None


@USUAL
def test_values_are_read_on_the_cpu_alone():
    softmax = {"num_classes": 5, "embedding_dim": 3}
    check = input_check(impls.loss("softmax"), softmax, reads_labels=True)
    with torch.device("meta"):
        assert check(None, (torch.randn(4, 3), torch.arange(4)), {}) is None
        pairs = input_check(impls.loss("contrastive"), {}, reads_labels=True)
        assert pairs(None, (torch.randn(4, 3), torch.randn(4, 3), torch.ones(4)), {}) is None


@pytest.mark.parametrize("trainee", REFUSING, ids=str)
@pytest.mark.parametrize("stray", [-1, -100, 5, 2**40])
def test_a_forward_that_refuses_labels_has_the_words_of_the_check(trainee, stray):
    embeddings, labels = trainee.draw(dtype=torch.float32)
    labels[3] = stray
    module = trainee.head()
    message = rf"{trainee.name}: labels must be from 0 to 4, got {stray}"
    with pytest.raises(ValueError, match=message) as raised:
        module(embeddings, labels)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("trainee", REFUSING, ids=str)
def test_its_labels_are_not_read_before(trainee, monkeypatch):
    module = trainee.head()
    moves = trainee.moves
    monkeypatch.setattr(torch.Tensor, "aminmax", None)
    if moves:
        # The labels are checked before the state moves.
        assert module.input_check.reads_labels
    else:
        module(*trainee.draw(dtype=torch.float32))


def test_an_error_that_is_not_of_the_labels_is_left_as_it_is():
    module = impls.implementation("softmax", "fused").build(num_classes=5, embedding_dim=8)
    module.weight = nn.Parameter(torch.randn(7, 5))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        module(torch.randn(4, 8), torch.arange(4))
