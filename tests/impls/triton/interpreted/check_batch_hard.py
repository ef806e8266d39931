"""The batch-hard triplet loss, in the interpreter."""

import pytest
import torch

from lossbench.impls.triton import precision
from lossbench.impls.triton.kernels import batch_hard
from tests.impls.triton.oracle import AWKWARD, agree, step

LOSS = "triplet_batch_hard"


@pytest.mark.parametrize("size", [*AWKWARD, (33, 1, 5), (31, 17, 31)])
def test_agrees_at_awkward_sizes(size):
    agree(LOSS, size)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(dtype):
    agree(LOSS, (33, 17, 5), dtype)


def squares(x):
    return torch.cdist(x.double(), x.double()).square()


def partners_of(x, labels):
    _, _, partners, _ = batch_hard.batch_hard(x, labels, 0.3)
    return partners.long()


@pytest.mark.parametrize("batch", [2, 16, 100])
def test_the_partners_are_the_extremes(batch):
    x, labels = torch.randn(batch, 5), torch.arange(batch) % 3
    same = labels[:, None] == labels
    positive = squares(x).masked_fill(~same, -torch.inf).argmax(1)
    negative = squares(x).masked_fill(same, torch.inf).argmin(1)
    assert torch.equal(partners_of(x, labels), torch.stack((positive, negative)))


def test_of_equal_distances_the_first_counts():
    x, labels = torch.zeros(40, 3), torch.arange(40) % 2
    # All rows lie in one place.
    assert torch.equal(partners_of(x, labels), torch.stack((labels, 1 - labels)))


def test_a_batch_of_singletons_has_itself_for_positives():
    x, labels = torch.randn(31, 3), torch.randperm(31)
    assert torch.equal(partners_of(x, labels)[0], torch.arange(31))


def test_a_batch_of_one_class_has_a_loss_of_0():
    x, labels = torch.randn(17, 3), torch.zeros(17, dtype=torch.int64)
    out, (gradient,) = step(LOSS, "triton", (x, labels))
    assert (out.loss.item(), out.correct.item(), gradient.abs().max().item()) == (0, 17, 0)


def test_one_row_that_is_the_partner_of_all_gathers_every_pull():
    x = torch.randn(70, 3) + 5
    x[40] = 0
    labels = torch.zeros(70, dtype=torch.int64)
    labels[0] = 1
    expected, wanted = step(LOSS, "reference", (x, labels), dtype=torch.float64, margin=9.0)
    out, found = step(LOSS, "triton", (x, labels), margin=9.0)
    torch.testing.assert_close(out.loss.double(), expected.loss)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_two_runs_give_the_same_bits():
    x, labels = torch.randn(50, 7), torch.arange(50) % 4
    first, second = (step(LOSS, "triton", (x, labels)) for _ in range(2))
    assert first[0].loss == second[0].loss
    assert torch.equal(first[1][0], second[1][0])


@pytest.fixture
def medium():
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(former)


@pytest.mark.usefixtures("medium")
def test_mining_in_bfloat16_chooses_within_the_rule_of_near_ties():
    assert precision.mining_precision(torch.float32) == "bf16"
    # Rows that lie close together, far from the origin.
    x, labels = 0.1 * torch.randn(100, 17) + 0.7, torch.arange(100) % 7
    allowed = precision.near_tie("bf16", x.norm(dim=1).max().item(), 17)
    same, exact = labels[:, None] == labels, squares(x)
    furthest = exact.masked_fill(~same, -torch.inf).amax(1)
    closest = exact.masked_fill(same, torch.inf).amin(1)
    positive, negative = (exact.gather(1, p[:, None]).squeeze(1) for p in partners_of(x, labels))
    assert (furthest - positive).max() <= allowed
    assert (negative - closest).max() <= allowed
    # The rule is needed: some rows have another partner than in float32.
    assert (negative > closest + 1e-6).any()
    # The distances of the partners are computed again, in float32.
    out, _ = step(LOSS, "triton", (x, labels))
    hinges = (positive.sqrt() - negative.sqrt() + 0.3).relu()
    torch.testing.assert_close(out.loss.double(), hinges.mean(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("setting", "expected"), [("highest", "tf32x3"), ("high", "tf32"), ("medium", "bf16")]
)
def test_the_precision_of_float32_is_torchs_own_setting(setting, expected):
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(setting)
    try:
        assert precision.mining_precision(torch.float32) == expected
        assert precision.product_precision(torch.float32) == expected.replace("bf16", "tf32")
        assert precision.mining_precision(torch.bfloat16) == "ieee"
    finally:
        torch.set_float32_matmul_precision(former)
