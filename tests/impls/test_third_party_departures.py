"""What third parties do otherwise than the references, and where."""

from importlib.metadata import version

import pytest
import torch

from lossbench import impls
from tests.makers.third_party import EVERY, errors, make_inputs, skip_unless_supported


@pytest.mark.parametrize("margin", [0.5, 1.2])
def test_pml_arcface_is_the_guarded_one_in_both_ranges(margin):
    implementation = impls.implementation("arcface_guarded", "pml")
    skip_unless_supported(implementation)
    arguments = {"num_classes": 2, "embedding_dim": 2, "scale": 8, "margin": margin}
    angles = torch.cat((torch.linspace(0.1, 3.1, 31), -torch.linspace(0.1, 3.1, 31))).double()
    weight = torch.eye(2, dtype=torch.float64)
    inputs = torch.stack((angles.cos(), angles.sin()), dim=1), torch.zeros(62, dtype=torch.int64)
    for variant in ("reference", "pml"):
        module = impls.implementation("arcface_guarded", variant).build(**arguments).double()
        module.load_state_dict({"weight": weight})
        # A mean could hide the error of one sample, so each is computed alone.
        losses = [module(x[None], y[None]).loss for x, y in zip(*inputs, strict=True)]
        gradients = torch.autograd.grad(torch.stack(losses).sum(), module.weight)[0]
        if variant == "reference":
            expected = torch.stack(losses), gradients
    torch.testing.assert_close((torch.stack(losses), gradients), expected, rtol=1e-9, atol=1e-12)


def test_pml_arcface_departs_beyond_the_guard_alone():
    implementation = impls.implementation("arcface", "pml")
    skip_unless_supported(implementation)
    arguments = {"num_classes": 4, "embedding_dim": 64}
    torch.manual_seed(0)
    weight = impls.implementation("arcface", "reference").build(**arguments).double().weight
    inputs = make_inputs(implementation.loss, 8, 64, 4, None)
    torch.manual_seed(0)
    near = errors(implementation, arguments, inputs, torch.float64)
    assert max(error for error, _ in near.values()) < 1e-13
    noise = 0.01 * inputs["embeddings"]
    inputs["embeddings"] = noise - weight.detach().t()[inputs["labels"]]
    torch.manual_seed(0)
    far = errors(implementation, arguments, inputs, torch.float64)
    assert min(error for error, _ in far.values()) > 1e-3


def test_pml_sphereface_departs_where_it_should_anneal():
    implementation = impls.implementation("sphereface", "pml")
    skip_unless_supported(implementation)
    arguments = {"num_classes": 10, "embedding_dim": 32}
    inputs = make_inputs(implementation.loss, 64, 32, 10, None)
    found = errors(implementation, arguments, inputs, torch.float64)
    assert min(error for error, _ in found.values()) > 1e-2


def test_every_departing_one_has_a_test_here():
    departing = {(each.loss.name, each.variant) for each in EVERY if each.departs}
    assert departing == {("arcface", "pml"), ("sphereface", "pml"), ("triplet_batch_hard", "pml")}


@pytest.mark.parametrize("arguments", [{"margin": 0}, {"gamma": 2.0}], ids=str)
def test_pml_sphereface_refuses_what_it_has_not(arguments):
    implementation = impls.implementation("sphereface", "pml")
    skip_unless_supported(implementation)
    with pytest.raises(ValueError, match="pml takes a margin from 1 to 5 and gamma 0"):
        implementation.build(num_classes=3, embedding_dim=4, **arguments)


def test_pml_modified_softmax_shows_the_documents_epsilon_in_float64_alone():
    implementation = impls.implementation("modified_softmax", "pml")
    skip_unless_supported(implementation, torch.float32)
    assert "not torch.float64" in implementation.unsupported("cpu", torch.float64)
    inputs = make_inputs(implementation.loss, 64, 32, 10, None)
    arguments = {"num_classes": 10, "embedding_dim": 32}
    for error, _ in errors(implementation, arguments, inputs, torch.float64).values():
        assert 1e-9 < error < 1e-6


@pytest.mark.parametrize(("variant", "equal"), [("otl", True), ("torch", True), ("pml", False)])
def test_singletons_are_anchors_but_for_pml(variant, equal):
    implementation = impls.implementation("triplet_batch_hard", variant)
    skip_unless_supported(implementation)
    inputs = make_inputs(implementation.loss, 8, 4, 8, None)
    inputs["labels"] = torch.tensor([0, 0, 1, 2, 3, 4, 5, 6])
    error, _ = errors(implementation, {}, inputs, torch.float64)["value"]
    # The reference has 1e-6 for a sample's distance from itself; third parties have 0.
    assert (error < 1e-5) is equal


def test_pml_is_of_the_version_whose_margins_are_degrees():
    implementation = impls.implementation("arcface", "pml")
    skip_unless_supported(implementation)
    assert version("pytorch-metric-learning") == "2.9.0"
