import pytest
import torch
from torch import nn

from lossbench import impls
from lossbench.impls.checks import InputCheck
from lossbench.impls.variant import Implementation


def test_lists_the_reference_first():
    for loss in impls.losses():
        assert impls.implementations(loss.name)[0].variant == "reference"


def test_an_unknown_loss_is_told_the_choices():
    with pytest.raises(ValueError, match="unknown loss 'arcfaec'; the losses are: softmax, "):
        impls.implementations("arcfaec")


def test_an_unknown_variant_is_told_the_choices():
    with pytest.raises(ValueError, match="island has no variant 'nope'; it has: reference, "):
        impls.implementation("island", "nope")


def test_unsupported_gives_the_reason():
    loss = impls.loss("island")
    narrow = Implementation(loss, "narrow", nn.Identity, devices=("cuda",), dtypes=(torch.float32,))
    assert narrow.unsupported("cpu", torch.float32) == "runs on cuda, not on cpu"
    missing = Implementation(loss, "missing", nn.Identity, requires=("no_such_package",))
    reason = "needs the package no_such_package, which is not installed"
    assert missing.unsupported("cpu", torch.float32) == reason
    newer = Implementation(loss, "newer", nn.Identity, since=(99, 1))
    assert "needs torch 99.1 or later, this is 2." in newer.unsupported("cpu", torch.float32)
    single = Implementation(loss, "single", nn.Identity, dtypes=(torch.float32,))
    assert single.unsupported("cpu", torch.float64) == "takes torch.float32, not torch.float64"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_is_unsupported_where_there_is_none():
    reason = impls.implementation("softmax", "reference").unsupported("cuda", torch.float32)
    assert reason is not None
    assert "finds no CUDA device" in reason


@pytest.mark.parametrize("variant", ["reference", "vectorized", "vectorized+compile"])
@pytest.mark.parametrize("validate", [True, False])
def test_a_check_is_attached_where_it_is_asked_for(variant, validate):
    module = impls.implementation("island", variant).build(
        validate=validate, num_classes=3, embedding_dim=2
    )
    found = [getattr(module, "input_check", None), *module._forward_pre_hooks.values()]
    assert sum(isinstance(each, InputCheck) for each in found) == validate
