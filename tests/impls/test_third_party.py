"""Third parties compared with the references in float64: equal, unless they declare a departure."""

import copy
import math
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch

from lossbench import impls

VARIANTS = ("pml", "torch", "torch_chunked", "otl")
CASES = [
    # batch, dim, classes, the spread of a class around its own mean (None: one Gaussian for all)
    (6, 3, 3, None),
    (64, 32, 10, None),
    (64, 32, 10, 0.3),
    (200, 48, 40, 1.0),
]
DTYPES = (torch.float64, torch.float32)
# Arguments other than the document's that make a variant equal to the reference.
EQUAL_ARGUMENTS = {("sphereface", "pml"): {"lambda_min": 0, "lambda_max": 0}}

EVERY = [
    each
    for loss in impls.losses()
    for each in impls.implementations(loss.name)
    if each.variant in VARIANTS
]
EQUAL = [
    each for each in EVERY if not each.departs or (each.loss.name, each.variant) in EQUAL_ARGUMENTS
]


def identify(value):
    if isinstance(value, impls.Implementation):
        return f"{value.loss.name}-{value.variant}"
    return None


def skip_unless_supported(implementation, dtype=torch.float64):
    reason = implementation.unsupported("cpu", dtype)
    if reason:
        pytest.skip(reason)
    needs_2_13 = implementation.loss.name == "softmax" and implementation.variant != "liger"
    if needs_2_13 and not hasattr(torch.nn.functional, "linear_cross_entropy"):
        pytest.skip(f"torch {torch.__version__} has no linear_cross_entropy")


def arguments_of(implementation, classes, dim):
    arguments = EQUAL_ARGUMENTS.get((implementation.loss.name, implementation.variant), {})
    if implementation.loss.has_classes:
        arguments = arguments | {"num_classes": classes, "embedding_dim": dim}
    return arguments


def rows(batch, dim, classes, spread):
    if spread is None:
        return torch.randn(batch, dim, dtype=torch.float64)
    means = torch.randn(classes, dim, dtype=torch.float64)
    noise = torch.randn(batch, dim, dtype=torch.float64)
    return means[torch.arange(batch) % classes] + spread * noise


def make_inputs(loss, batch, dim, classes, spread):
    x = rows(batch, dim, classes, spread)
    labels = torch.arange(batch) % classes
    if loss.inputs == "labelled":
        return {"embeddings": x, "labels": labels}
    other = rows(batch, dim, classes, spread)
    if loss.inputs == "pairs":
        # Near enough for the margin to matter.
        scale = 0.7 / math.sqrt(dim)
        return {"x0": x * scale, "x1": other * scale, "same": labels % 2}
    return {"a": x, "b": other}


def results(module, inputs, dtype):
    """Return the first output, the other outputs, and every gradient by name."""
    given = {
        name: value.to(dtype).requires_grad_() if value.is_floating_point() else value
        for name, value in inputs.items()
    }
    output, *others = module(**given)
    weights = torch.linspace(0.5, 1.5, output.numel(), dtype=dtype).view_as(output)
    leaves = {name: value for name, value in given.items() if value.requires_grad}
    leaves |= dict(module.named_parameters())
    gradients = torch.autograd.grad((output * weights).sum(), list(leaves.values()))
    return {"value": output, **dict(zip(leaves, gradients, strict=True))}, others


def relative_error(actual, expected):
    return ((actual.double() - expected).norm() / expected.norm().clamp(min=1e-30)).item()


def errors(implementation, arguments, inputs, dtype):
    """Return the implementation's and the reference's error in a dtype, by value and gradient."""
    reference = impls.implementation(implementation.loss.name, "reference")
    oracle = reference.build(**arguments).to(dtype)
    contender = implementation.build(**arguments).to(dtype)
    plain = reference.build(**arguments).to(dtype)
    for module in (contender, plain):
        module.load_state_dict(oracle.state_dict())
    rounded = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    expected, _ = results(oracle.double(), rounded, torch.float64)
    actual, _ = results(contender, rounded, dtype)
    usual, _ = results(plain, rounded, dtype)
    return {
        name: (relative_error(actual[name], value), relative_error(usual[name], value))
        for name, value in expected.items()
    }


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("implementation", EQUAL, ids=identify)
def test_equal_ones_are_equal(implementation, case, dtype, seed):
    skip_unless_supported(implementation, dtype)
    torch.manual_seed(seed)
    batch, dim, classes, spread = case
    arguments = arguments_of(implementation, classes, dim)
    inputs = make_inputs(implementation.loss, batch, dim, classes, spread)
    eps = torch.finfo(dtype).eps
    for name, (error, usual) in errors(implementation, arguments, inputs, dtype).items():
        # The 16: pml computes a pair's distance by the expanded square, the reference directly.
        assert error <= 4 * usual + 16 * eps, name


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


def test_torch_counts_the_correct_anchors():
    loss = impls.loss("triplet_batch_hard")
    inputs = make_inputs(loss, 64, 32, 10, 0.3)
    counts = [
        impls.implementation(loss.name, variant).build()(**inputs).correct
        for variant in ("reference", "torch")
    ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("same", [0, 1])
@pytest.mark.parametrize("variant", ["pml", "torch"])
def test_one_label_serves_every_pair(variant, same):
    implementation = impls.implementation("contrastive", variant)
    skip_unless_supported(implementation)
    inputs = make_inputs(implementation.loss, 16, 8, 4, None) | {"same": torch.tensor([same])}
    for error, _ in errors(implementation, {}, inputs, torch.float64).values():
        assert error < 1e-13


@pytest.mark.parametrize("implementation", EQUAL, ids=identify)
def test_survives_a_copy_and_a_cast(implementation):
    skip_unless_supported(implementation, torch.float32)
    inputs = make_inputs(implementation.loss, 64, 32, 10, 0.3)
    module = implementation.build(**arguments_of(implementation, 10, 32))
    before, _ = results(module, inputs, torch.float32)
    clone = copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.data.zero_()
    after, _ = results(clone, inputs, torch.float32)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    cast, _ = results(clone.double(), inputs, torch.float64)
    assert all(value.dtype == torch.float64 for value in cast.values())


@pytest.mark.parametrize("implementation", EQUAL, ids=identify)
def test_state_is_the_references_alone(implementation):
    skip_unless_supported(implementation, torch.float32)
    arguments = arguments_of(implementation, 10, 32)
    reference = impls.implementation(implementation.loss.name, "reference").build(**arguments)
    module = implementation.build(**arguments)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    inputs = make_inputs(implementation.loss, 64, 32, 10, None)
    results(module, inputs, torch.float32)
    results(reference, inputs, torch.float32)
    assert before.keys() == reference.state_dict().keys()
    for name, value in module.state_dict().items():
        moved = reference.state_dict()[name] if value.dtype == torch.int64 else before[name]
        assert torch.equal(value, moved)


@pytest.mark.parametrize("implementation", EQUAL, ids=identify)
def test_takes_int32_labels_and_strided_inputs(implementation):
    skip_unless_supported(implementation, torch.float32)
    inputs = make_inputs(implementation.loss, 32, 16, 4, 0.5)
    odd = {
        name: value.t().contiguous().t() if value.is_floating_point() else value.int()
        for name, value in inputs.items()
    }
    module = implementation.build(**arguments_of(implementation, 4, 16))
    before = copy.deepcopy(module)
    expected, _ = results(before, inputs, torch.float32)
    actual, _ = results(module, odd, torch.float32)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-4, atol=1e-6)


def test_pml_is_of_the_version_whose_margins_are_degrees():
    implementation = impls.implementation("arcface", "pml")
    skip_unless_supported(implementation)
    assert version("pytorch-metric-learning") == "2.9.0"


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
