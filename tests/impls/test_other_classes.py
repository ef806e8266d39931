"""A head's weights in a head of more, of fewer or of other classes, as the documentation has it."""

from dataclasses import replace

import pytest
import torch

from lossbench import impls
from tests.makers.training import DIM, PARAMETRIC

# What each class of the new head was in the old one, of five classes; -1 is a class that is new.
GROWN = [0, 1, 2, 3, 4, -1, -1]
SHRUNK = [4, 0, 2]
MIXED = [-1, 3, 1, -1]


def carry_over(old, head, classes):
    """Put what was trained into another head: the recipe of docs/training.md."""
    state = head.state_dict()  # shares the head's memory
    new = torch.tensor(classes)
    kept = new >= 0
    for name, tensor in old.items():
        if name == "weight":
            state[name][:, kept] = tensor[:, new[kept]]
        elif name == "centers":
            state[name][kept] = tensor[new[kept]]
        else:
            state[name].copy_(tensor)


@PARAMETRIC
@pytest.mark.parametrize("classes", [GROWN, SHRUNK, MIXED], ids=["more", "fewer", "other"])
def test_kept_classes_are_as_trained_and_the_others_as_new(trainee, classes):
    old = trainee.head()
    embeddings, labels = trainee.draw(dtype=torch.float32)
    embeddings.requires_grad_()
    old(embeddings, labels)[0].backward()
    with torch.no_grad():
        for parameter in old.parameters():
            parameter += 1
    head = replace(trainee, sizes=replace(trainee.sizes, classes=len(classes))).head()
    fresh = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    carry_over(old.state_dict(), head, classes)
    for name, tensor in head.state_dict().items():
        if name not in ("weight", "centers"):
            assert torch.equal(tensor, old.state_dict()[name])
            continue
        for place, former in enumerate(classes):
            axis = 1 if name == "weight" else 0
            source = fresh[name] if former < 0 else old.state_dict()[name]
            expected = source.select(axis, place if former < 0 else former)
            assert torch.equal(tensor.select(axis, place), expected)
    head(embeddings, labels.remainder(len(classes)))[0].backward()


@pytest.mark.parametrize("loss", ["softmax", "arcface", "sphereface"])
def test_kept_classes_keep_their_logits(loss):
    torch.manual_seed(0)
    old = impls.build(loss, "fused", num_classes=5, embedding_dim=DIM)
    head = impls.build(loss, "vectorized", num_classes=len(MIXED), embedding_dim=DIM)
    carry_over(old.state_dict(), head, MIXED)
    x = torch.randn(6, DIM)
    torch.testing.assert_close(head.logits(x)[:, [1, 2]], old.logits(x)[:, [3, 1]])


def test_a_head_of_other_classes_is_not_loaded_by_accident():
    old, head = (impls.build("arcface", num_classes=n, embedding_dim=DIM) for n in (5, 7))
    with pytest.raises(RuntimeError, match=r"size mismatch for weight"):
        head.load_state_dict(old.state_dict())
