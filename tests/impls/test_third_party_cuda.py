"""Third parties that run on CUDA alone: how they are called, and where they are refused."""

import sys
from types import SimpleNamespace

import pytest
import torch

from lossbench import impls
from tests.makers.third_party import make_inputs


def test_liger_asks_for_its_package_or_for_cuda():
    reason = impls.implementation("softmax", "liger").unsupported("cpu", torch.float32)
    assert reason in (
        "needs the package liger_kernel, which is not installed",
        "needs the package triton, which is not installed",
        "runs on cuda, not on cpu",
    )


def half_softmax(variant):
    """Return a variant of the softmax on CUDA and the reference, with one state."""
    arguments = {"num_classes": 5, "embedding_dim": 3}
    module = impls.implementation("softmax", variant).builder(**arguments)
    reference = impls.implementation("softmax", "reference").build(**arguments)
    module.load_state_dict(reference.state_dict())
    return module, reference


def cross_entropy(given, reduction="mean"):
    """Return a stand-in for a function on CUDA: a linear layer and its cross-entropy."""

    def function(embeddings, classifier, labels, **options):
        given.append(options)
        logits = embeddings @ classifier.t()
        return torch.nn.functional.cross_entropy(logits, labels, reduction=reduction)

    return function


@pytest.mark.parametrize(("variant", "eps"), [("cce", None), ("cce_filtered", "high")])
def test_cut_cross_entropy_is_given_the_transposed_weight(variant, eps, monkeypatch):
    given = []
    package = SimpleNamespace(linear_cross_entropy=cross_entropy(given))
    monkeypatch.setitem(sys.modules, "cut_cross_entropy", package)
    module, reference = half_softmax(variant)
    inputs = make_inputs(impls.loss("softmax"), 4, 3, 5, None)
    inputs["embeddings"] = inputs["embeddings"].float()
    assert torch.allclose(module(**inputs).loss, reference(**inputs).loss)
    assert given == [{"filter_eps": eps}]
    assert bool(impls.implementation("softmax", variant).departs) == (eps is not None)


def test_ligers_kernel_for_hopper_is_given_the_transposed_weight(monkeypatch):
    function = SimpleNamespace(apply=cross_entropy([], reduction="none"))
    ops = SimpleNamespace(LigerFusedLinearScaledCrossEntropyFunction=function)
    package = SimpleNamespace(fused_linear_scaled_cross_entropy=ops)
    monkeypatch.setitem(sys.modules, "liger_kernel", SimpleNamespace(ops=package))
    monkeypatch.setitem(sys.modules, "liger_kernel.ops", package)
    module, reference = half_softmax("liger_hopper")
    inputs = make_inputs(impls.loss("softmax"), 4, 3, 5, None)
    inputs["embeddings"] = inputs["embeddings"].float()
    assert torch.allclose(module(**inputs).loss, reference(**inputs).loss)


@pytest.mark.parametrize(("capability", "reason"), [((9, 0), None), ((8, 0), "needs a GPU of")])
def test_ligers_kernel_for_hopper_is_refused_elsewhere(capability, reason, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    found = impls.implementation("softmax", "liger_hopper").problem()
    assert (found or "").startswith(reason or "")
    assert (found is None) == (reason is None)
