"""Tests beyond the golden vectors: every margin, the focal factor, the annealing, batch sizes."""

import numpy as np
import pytest
import torch

from lossbench.reference.center import CenterAllPairs, Island
from lossbench.reference.margin import SphereFace
from lossbench.reference.softmax import ModifiedSoftmax
from lossbench.reference.triplet import TripletWeightedUnshifted, normalize, softmax_weights


def sphereface_by_angles(x, weight, labels, margin, gamma, calls):
    """Return SphereFace's loss from angles, in NumPy: θ by arccos, cos(mθ) by cos."""
    lengths = np.linalg.norm(x, axis=1)
    cosine = (x / lengths[:, None]) @ (weight / np.linalg.norm(weight, axis=0))
    rows = np.arange(len(labels))
    theta = np.arccos(cosine[rows, labels])
    k = np.floor(margin * theta / np.pi)
    psi = (-1.0) ** k * np.cos(margin * theta) - 2 * k
    lam = max(3, 30000 / (1 + 0.2 * calls))
    logits = cosine * lengths[:, None]
    logits[rows, labels] = lengths * (lam * cosine[rows, labels] + psi) / (1 + lam)
    log_p = logits[rows, labels] - np.log(np.exp(logits).sum(1))
    return np.mean(-((1 - np.exp(log_p)) ** gamma) * log_p)


@pytest.mark.parametrize("margin", range(6))
@pytest.mark.parametrize("gamma", [0, 2])
@pytest.mark.parametrize("calls", [1, 60000])
def test_sphereface_is_its_formula_at_every_margin(margin, gamma, calls):
    torch.manual_seed(margin)
    module = SphereFace(7, 5, margin=margin, gamma=gamma).double()
    module.iteration.fill_(calls - 1)
    x, labels = torch.randn(20, 5).double(), torch.arange(20) % 7
    expected = sphereface_by_angles(
        x.numpy(), module.weight.detach().numpy(), labels.numpy(), margin, gamma, calls
    )
    assert module(x, labels).loss.item() == pytest.approx(expected, rel=1e-10)
    assert module.iteration == calls


def test_sphereface_counts_in_evaluation_too():
    module = SphereFace(3, 4).eval()
    with torch.no_grad():
        module(torch.randn(2, 4), torch.tensor([0, 1]))
    assert module.iteration == 1
    assert module.state_dict()["iteration"] == 1


def test_sphereface_focal_factor_has_no_gradient():
    module = SphereFace(3, 4, gamma=1).double()
    x, labels = torch.randn(1, 4).double().requires_grad_(), torch.tensor([0])
    out = module(x, labels)
    plain = SphereFace(3, 4).double()
    plain.load_state_dict({**module.state_dict(), "iteration": torch.tensor(0)})
    p = torch.exp(-plain(x, labels).loss)
    (focal,) = torch.autograd.grad(out.loss, x)
    plain.iteration.zero_()
    (full,) = torch.autograd.grad(plain(x, labels).loss, x)
    torch.testing.assert_close(focal, (1 - p.detach()) * full)


@pytest.mark.parametrize("batch", [1, 10, 64])
def test_island_divides_by_the_constructors_batch_size(batch):
    module = Island(7, 5, island_weight=0.0, batch_size=64).double()
    x, labels = torch.randn(batch, 5).double(), torch.arange(batch) % 7
    expected = (x - module.centers[labels]).square().sum() / 2 / 64
    torch.testing.assert_close(module(x, labels).loss, expected)


def test_island_sums_each_pair_of_centers_once():
    module = Island(3, 2, island_weight=1.0, batch_size=1).double()
    with torch.no_grad():
        module.centers.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]))
    # The cosines are 0, -1 and 0, and 1 is added to each; the sample lies on its centre.
    assert module(module.centers[:1].detach(), torch.tensor([0])).loss.item() == 2.0


@pytest.mark.parametrize("normalized", [False, True])
def test_weighted_triplet_normalizes_what_it_is_told_to(normalized):
    x, labels = torch.randn(8, 4).double(), torch.arange(8) % 3
    by_hand = x / x.norm(dim=1, keepdim=True) if normalized else x
    expected = TripletWeightedUnshifted(normalize=False)(by_hand, labels).loss
    given = TripletWeightedUnshifted(normalize=normalized)(x, labels).loss
    torch.testing.assert_close(given, expected, rtol=1e-10, atol=0)


def test_normalize_gives_unit_rows_and_keeps_zero():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.6, 0.8], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(normalize(x), expected)


def test_softmax_weights_shift_by_the_masked_maximum():
    distances = torch.tensor([[1.0, 2.0, 5.0]], dtype=torch.float64)
    mask = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    total = np.exp(-1) + 1 + 1e-6
    expected = torch.tensor([[np.exp(-1) / total, 1 / total, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(softmax_weights(distances, mask), expected)
    # Negative distances are below the masked 0, so nothing is subtracted from them.
    far = softmax_weights(-distances, mask)
    unshifted = np.exp([-1, -2]) / (np.exp([-1, -2]).sum() + 1e-6)
    torch.testing.assert_close(far[0, :2], torch.from_numpy(unshifted))


@pytest.mark.parametrize("labels", [[0, 0, 2], [1, 1, 1]])
def test_center_average_moves_present_classes_and_shrinks_absent_ones(labels):
    module = CenterAllPairs(4, 2, momentum=0.75).double()
    before = module.centers.detach().clone()
    x, labels = torch.randn(3, 2).double(), torch.tensor(labels)
    module(x, labels)
    for k in range(4):
        mean = x[labels == k].mean(0) if k in labels else torch.zeros(2).double()
        torch.testing.assert_close(module.centers[k].detach(), 0.75 * before[k] + 0.25 * mean)


def test_modified_softmax_leaves_short_columns_short():
    module = ModifiedSoftmax(2, 3).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[2.0, 1e-6], [0.0, 0.0], [0.0, 0.0]]))
    logits = module(torch.eye(3).double(), torch.tensor([0, 1, 0])).logits
    expected = torch.tensor([2 / (2 + 1e-7), 0.1], dtype=torch.float64)
    torch.testing.assert_close(logits[0], expected)
