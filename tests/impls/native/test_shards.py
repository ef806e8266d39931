"""The sums over a shard of the classes by native operators, against tiles in float64."""

import itertools

import pytest
import torch

from lossbench.bench.measure.memory import footprints
from lossbench.impls.families import COLUMNS, family
from lossbench.impls.precision import widened
from tests.makers.native import is_equal_by_threads, pass_opcheck

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
# Of the largest element; gradients of a shard in half precision are rounded once.
CLOSE = {
    torch.float64: 1e-13,
    torch.float32: 2e-6,
    torch.bfloat16: 2**-8,
    torch.float16: 2**-11,
}
BATCH, DIM, CLASSES = 37, 6, 600
# No sample has its class in the second shard; the third has one class.
BORDERS = (0, 300, 599, 600)


def drawn(dtype):
    """Return rows, weights of a dtype, shares, and labels."""
    torch.manual_seed(0)
    rows = torch.randn(BATCH, DIM, dtype=widened(dtype))
    weight, shares = torch.randn(DIM, CLASSES).to(dtype), torch.rand(CLASSES).to(rows.dtype)
    labels = torch.randint(0, BORDERS[1], (BATCH,))
    labels[:2] = CLASSES - 1
    return rows, weight, shares, labels


def step(name, inputs, columns, spread, factor):
    """Return the sums of all shards joined, and the gradients of rows and weights."""
    rows, weight, shares, labels = inputs
    rows, weight = rows.clone().requires_grad_(), weight.clone().requires_grad_()
    logs, spreads = [], []
    for start, stop in itertools.pairwise(BORDERS):
        places = torch.where((labels >= start) & (labels < stop), labels - start, -1)
        own = shares[start:stop] if spread else None
        part = family(name).shard_sums(rows * factor, weight[:, start:stop], places, columns, own)
        logs.append(part[0]), spreads.append(part[1])
    joined = torch.stack(logs, 1).logsumexp(1)
    second = sum(spreads) if spread else torch.zeros_like(joined)
    upstream = torch.arange(BATCH).to(joined) / BATCH
    (joined @ upstream - 3 * (second @ upstream)).backward()
    return joined.detach(), second.detach(), rows.grad, weight.grad


def wide(inputs):
    return [each.double() if each.is_floating_point() else each for each in inputs]


@pytest.mark.parametrize("factor", [1, 1000])
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sums_and_gradients_are_those_of_the_tiles(dtype, columns, spread, factor):
    inputs = drawn(dtype)
    found = step("native", inputs, columns, spread, factor)
    expected = step("fused", wide(inputs), columns, spread, factor)
    for one, other in zip(found, expected, strict=True):
        # Scores in the thousands lose three digits.
        limit = CLOSE[one.dtype] * factor * float(other.abs().max())
        assert float((one - other).abs().max()) <= limit


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_number_of_threads_changes_no_bit(dtype):
    torch.manual_seed(0)
    rows, weight = torch.randn(300, 48), torch.randn(48, 700).to(dtype)
    places, shares = torch.randint(-1, 700, (300,)), torch.rand(700)

    def step_of_a_shard():
        leaves = rows.clone().requires_grad_(), weight.clone().requires_grad_()
        sums = family("native").shard_sums(*leaves, places, "unit", shares)
        return [*sums, *torch.autograd.grad(sums[0].sum() + 2 * sums[1].sum(), leaves)]

    is_equal_by_threads(step_of_a_shard)


def test_a_sum_without_an_upstream_still_gives_the_shares_their_gradient():
    rows, weight, shares, _ = drawn(torch.float64)
    places = torch.full((BATCH,), -1)
    rows.requires_grad_()
    _, spreads = family("native").shard_sums(rows, weight, places, "free", shares)
    spreads.sum().backward()
    torch.testing.assert_close(rows.grad, (weight @ shares).expand(BATCH, DIM))


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_s_own_checks_of_the_operators_pass(dtype):
    rows, weight, shares, labels = drawn(dtype)
    family("native")
    asked = (rows, weight, labels, shares, 1)
    logs, spreads, saved = torch.ops.lossbench_native.shard_sums.default(*asked)
    given = (logs, spreads, *asked[:4], saved, 1, True, False)
    pass_opcheck([("shard_sums", asked), ("shard_sums_backward", given)])


def test_a_label_beyond_the_shard_is_refused():
    rows, weight, _, labels = drawn(torch.float32)
    with pytest.raises(RuntimeError, match="labels must be from 0 to 299, got 599"):
        family("native").shard_sums(rows, weight[:, :300], labels, "free", None)


def bytes_of_step(batch, dim, classes):
    """Return the memory that forward keeps, and the peak of both passes, in bytes."""
    rows = torch.randn(batch, dim, requires_grad=True)
    weight = torch.randn(dim, classes, requires_grad=True)
    places = torch.full((batch,), -1)

    def forward(_):
        return family("native").shard_sums(rows, weight, places, "unit", None)[0]

    forward(None).sum().backward()
    rows.grad = weight.grad = None
    calls = footprints((forward, lambda logs: logs.sum().backward()), "cpu")
    return calls[0].live_bytes, max(call.peak_bytes for call in calls)


def test_memory_is_that_of_the_rows_and_the_shard():
    batch, dim, classes, most_at_once = 512, 16, 20_000, 4 * 2**20
    kept, peak = bytes_of_step(batch, dim, classes)
    twice_kept, twice_peak = bytes_of_step(batch, dim, 2 * classes)
    rows, shard = 4 * batch * dim, 4 * dim * classes
    # A sum, six terms of each sample, and the scale of each class.
    assert kept <= 4 * (7 * batch + classes) + 4096
    assert twice_kept - kept <= 4 * classes + 64
    assert peak <= most_at_once + 8 * rows + 2 * shard < 4 * batch * classes / 4
    assert twice_peak - peak <= 2 * shard
