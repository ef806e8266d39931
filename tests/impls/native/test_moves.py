"""The operator that moves class centres, against the formula in float64."""

import pytest
import torch

from lossbench import impls
from tests.makers.native import is_equal_by_threads

pytestmark = pytest.mark.usefixtures("loaded")

ROUNDING = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}
LABELS = torch.tensor([2, 0, 2, 6, 2, 0, 2])


def move(centers, x, labels, momentum, share, added, differences):
    """Move the centres in place by the operator."""
    operator = torch.ops.lossbench_native.move_centers.default
    operator(centers, x, labels, momentum, share, added, differences)


def moved(centers, x, labels, momentum, share, added, differences):
    """Return the moved centres in float64, class by class."""
    before, x = centers.double(), x.double()
    after = momentum * before
    for label in labels.unique():
        own = x[labels == label] - (before[label] if differences else 0)
        after[label] += share / (added + len(own)) * own.sum(0)
    return after


@pytest.mark.parametrize("terms", [(0.9, 0.1, 0, False), (1, 0.5, 1, True), (0.9, 0.5, 1, True)])
@pytest.mark.parametrize("dtype", ROUNDING)
def test_centers_move_as_the_formula_says(dtype, terms):
    torch.manual_seed(0)
    centers, x = torch.randn(9, 37).to(dtype), torch.randn(7, 37).to(dtype)
    exact = moved(centers, x, LABELS, *terms)
    move(centers, x, LABELS, *terms)
    tolerance = ROUNDING[dtype]
    torch.testing.assert_close(centers.double(), exact, rtol=tolerance, atol=tolerance)


def test_layouts_and_mixed_dtypes_give_the_same_move():
    torch.manual_seed(0)
    centers, x = torch.randn(37, 9).t(), torch.randn(7, 74, dtype=torch.float64)[:, ::2]
    labels = torch.stack([LABELS, LABELS], 1)[:, 0]
    exact = moved(centers, x, labels, 0.9, 0.1, 0, False)
    move(centers, x, labels, 0.9, 0.1, 0, False)
    torch.testing.assert_close(centers.double(), exact, rtol=1e-6, atol=1e-6)


def test_without_a_momentum_centers_without_samples_keep_their_bits():
    centers = torch.full((9, 3), float("nan"))
    centers[2] = 1.0
    move(centers, torch.zeros(2, 3), torch.tensor([2, 2]), 1, 0.5, 1, True)
    assert centers[2].tolist() == pytest.approx([2 / 3] * 3)
    assert centers.isnan().sum() == 8 * 3


@pytest.mark.parametrize("momentum", [0.9, 1])
def test_the_number_of_threads_changes_no_bit_of_a_move(momentum):
    torch.manual_seed(0)
    start, x, labels = torch.randn(900, 700), torch.randn(2000, 700), torch.randint(0, 900, (2000,))

    def moved_copy():
        centers = start.clone()
        move(centers, x, labels, momentum, 0.5, 1, True)
        return [centers]

    is_equal_by_threads(moved_copy)


def test_a_label_out_of_range_moves_nothing():
    centers = torch.ones(4, 3)
    with pytest.raises(RuntimeError, match="labels must be from 0 to 3, got 4"):
        move(centers, torch.zeros(2, 3), torch.tensor([0, 4]), 0.9, 0.1, 0, False)
    assert torch.equal(centers, torch.ones(4, 3))


@pytest.mark.parametrize(
    ("loss", "arguments"),
    [("center_all_pairs", {}), ("center", {"center_rate": 0.5})],
)
def test_a_backward_pass_that_reads_moved_centers_is_refused(loss, arguments):
    implementation = impls.implementation(loss, "native")
    module = implementation.build(num_classes=4, embedding_dim=3, **arguments)
    module.centers.requires_grad_()
    squares = module.centers.square().sum()
    module(torch.randn(2, 3, requires_grad=True), torch.tensor([0, 3]))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.backward()
