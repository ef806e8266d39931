"""The contrastive losses and the distances, in the interpreter."""

import pytest
import torch

from lossbench import impls
from tests.impls.triton.oracle import agree, compare, step

CONTRASTIVE = ("contrastive", "contrastive_whole_batch")
PAIRWISE = ("pairwise_distance", "pairwise_squared_distance")


@pytest.mark.parametrize("loss", [*CONTRASTIVE, *PAIRWISE, "vector_distance"])
@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 2), (33, 17, 5)])
def test_agrees_at_awkward_sizes(loss, size):
    agree(loss, size)


@pytest.mark.parametrize(
    ("loss", "dtype"),
    [
        ("contrastive", "bfloat16"),
        ("contrastive_whole_batch", "float16"),
        ("pairwise_distance", "bfloat16"),
        ("pairwise_squared_distance", "float16"),
        ("vector_distance", "bfloat16"),
    ],
)
def test_half_precision(loss, dtype):
    agree(loss, (17, 3, 5), dtype)


def pairs(batch=31, dim=17):
    """Return pairs that are about 1 apart, and their labels."""
    x0 = torch.randn(batch, dim)
    x1 = x0 + torch.randn(batch, dim) * torch.rand(batch, 1) / dim**0.5
    return x0, x1, torch.rand(batch) < 0.5


@pytest.mark.parametrize("loss", CONTRASTIVE)
def test_a_hundred_pairs(loss):
    compare(loss, pairs(100, 3), margin=2.0, upstream=3.0)


@pytest.mark.parametrize("loss", CONTRASTIVE)
@pytest.mark.parametrize("label", [0, 1])
def test_one_label_for_all_pairs(loss, label):
    x0, x1, _ = pairs(5, 3)
    compare(loss, (x0, x1, torch.tensor([label])), margin=9.0)


@pytest.mark.parametrize("loss", CONTRASTIVE)
def test_equal_samples_have_no_gradient(loss):
    x, _, same = pairs(5, 3)
    _, found = step(loss, "triton", (x, x, same), margin=1.2)
    assert all(gradient.abs().max() == 0 for gradient in found)


@pytest.mark.parametrize("loss", PAIRWISE)
@pytest.mark.parametrize(("rows", "columns", "dim"), [(1, 2, 1), (31, 2, 17), (2, 100, 3)])
def test_distances_of_two_numbers_of_rows(loss, rows, columns, dim):
    compare(loss, (torch.randn(rows, dim), torch.randn(columns, dim)), tolerance=5e-6)


def test_a_clamped_distance_has_no_gradient():
    a = torch.randn(20, 17)
    out, found = step("pairwise_distance", "triton", (a, a))
    assert torch.equal(out.distances.diagonal(), torch.full((20,), 1e-6))
    _, wanted = step("pairwise_distance", "reference", (a, a), dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_distances_of_two_dtypes():
    a, b = torch.randn(5, 7).bfloat16(), torch.randn(4, 7)
    module = impls.implementation("pairwise_distance", "triton").build()
    # The result has the dtype of the first.
    assert torch.equal(module(a, b).distances, module(a.float(), b).distances.bfloat16())


@pytest.mark.parametrize("shape", [(), (7,), (2048,), (2, 3, 5)])
def test_the_distance_of_arrays_of_any_shape(shape):
    compare("vector_distance", (torch.randn(shape), torch.randn(shape)))


def test_a_gradient_that_is_not_wanted_is_not_computed():
    a, b, same = pairs(5, 3)
    operators = torch.ops.lossbench_triton
    distances = operators.pairwise.default(a, b, True)
    grads = operators.pairwise_backward.default(distances, a, b, distances, False, True)
    assert [grad.numel() for grad in grads] == [0, 15]
    _, pulls = operators.contrastive.default(a, b, same.float(), 1.2)
    grads = operators.pull_apart.default(torch.ones(()), pulls, a, b, True, False)
    assert [grad.numel() for grad in grads] == [15, 0]
