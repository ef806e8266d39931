"""Third parties equal the references in float64, unless they declare a departure."""

import copy

import pytest
import torch

from lossbench import impls
from tests.makers.third_party import (
    EQUAL,
    arguments_of,
    errors,
    make_inputs,
    results,
    skip_unless_supported,
)

CASES = [
    # batch, dim, classes, the spread of a class around its own mean (None: one Gaussian for all)
    (6, 3, 3, None),
    (64, 32, 10, None),
    (64, 32, 10, 0.3),
    (200, 48, 40, 1.0),
]
DTYPES = (torch.float64, torch.float32)


def identify(value):
    if isinstance(value, impls.Implementation):
        return f"{value.loss.name}-{value.variant}"
    return None


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
