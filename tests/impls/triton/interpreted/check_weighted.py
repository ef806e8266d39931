"""The weighted triplet losses, in the interpreter."""

import pytest
import torch

from tests.impls.triton.oracle import AWKWARD, agree, step

LOSSES = ("triplet_weighted", "triplet_weighted_unshifted")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [*AWKWARD[:2], (33, 1, 5), (31, 17, 31)])
def test_agrees_at_awkward_sizes(loss, size):
    agree(loss, size)


@pytest.mark.parametrize(("loss", "dtype"), [(LOSSES[0], "bfloat16"), (LOSSES[1], "float16")])
def test_half_precision(loss, dtype):
    agree(loss, (20, 17, 5), dtype)


def close(loss, inputs, tolerance=3e-6, **arguments):
    expected, wanted = step(loss, "reference", inputs, dtype=torch.float64, **arguments)
    out, found = step(loss, "triton", inputs, **arguments)
    torch.testing.assert_close(out.loss.double(), expected.loss, rtol=tolerance, atol=0)
    assert out.correct == expected.correct
    (one,), (other,) = found, wanted
    assert (one - other).norm() <= tolerance * other.norm()


@pytest.mark.parametrize("loss", LOSSES)
def test_normalised_rows(loss):
    close(loss, (torch.randn(40, 17), torch.arange(40) % 3), normalize=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_distances_whose_exponentials_would_overflow(loss):
    # A float32 near 300 has steps of 3e-5, and so have the exponents.
    close(loss, (40 * torch.randn(40, 17), torch.arange(40) % 3), tolerance=3e-5)


def test_equal_rows_have_a_gradient_but_for_each_other():
    x = torch.randn(20, 5) + 3
    x[7] = x[2]
    labels = torch.arange(20) % 2
    _, (gradient,) = step("triplet_weighted", "triton", (x, labels))
    assert gradient.isfinite().all()
    close("triplet_weighted", (x, labels))


def test_two_runs_give_the_same_bits():
    x, labels = torch.randn(50, 7), torch.arange(50) % 4
    first, second = (step(LOSSES[0], "triton", (x, labels)) for _ in range(2))
    assert first[0].loss == second[0].loss
    assert torch.equal(first[1][0], second[1][0])
