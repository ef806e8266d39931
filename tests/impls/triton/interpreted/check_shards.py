"""The sums over shards of the classes, in the interpreter, and a head of two ranks with them."""

import itertools
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from lossbench import impls
from lossbench.impls.families import COLUMNS, family
from lossbench.impls.sharded import over
from tests.makers.ranks import run_ranks

BATCH, DIM, CLASSES = 19, 5, 41
# The second shard has no target, and the third one class.
BORDERS = (0, 17, 40, 41)


def sums(name, inputs, columns, spread, dtype):
    """Return the two sums of each shard joined, and the gradients of rows and shards."""
    rows, weight, shares, labels = (each.clone() for each in inputs)
    rows, weight = rows.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()
    shares = shares.to(dtype) if spread else None
    logs, spreads = [], []
    for start, stop in itertools.pairwise(BORDERS):
        places = torch.where((labels >= start) & (labels < stop), labels - start, -1)
        own = None if shares is None else shares[start:stop]
        part = family(name).shard_sums(rows, weight[:, start:stop], places, columns, own)
        logs.append(part[0]), spreads.append(part[1])
    joined = torch.stack(logs, 1).logsumexp(1)
    second = sum(spreads) if spread else joined.new_zeros(())
    (joined.square().sum() + 3 * second.sum()).backward()
    return joined.detach(), (second + joined * 0).detach(), rows.grad, weight.grad


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("columns", COLUMNS)
def test_the_sums_of_shards_are_those_of_the_tiles(columns, spread):
    torch.manual_seed(0)
    labels = torch.randint(0, BORDERS[1], (BATCH,))
    labels[0] = CLASSES - 1
    drawn = torch.randn(BATCH, DIM), torch.randn(DIM, CLASSES), torch.rand(CLASSES), labels
    found = sums("triton", drawn, columns, spread, torch.float32)
    expected = sums("fused", drawn, columns, spread, torch.float64)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 2e-6 * other.norm()


def parts(name, dtype):
    """Return the other functions of a family, each with the gradients of its inputs."""
    torch.manual_seed(1)
    a, b = torch.randn(9, DIM), torch.randn(7, DIM)
    places, same = torch.arange(9) % 4, (torch.arange(7) % 2).to(dtype)
    kernels, found = family(name), []
    for part in (
        lambda a, b: kernels.square_sum(a, b, places, False),
        lambda a, b: kernels.square_sum(a, b.detach(), places, True),
        lambda a, b: kernels.squared_distances(a, b).square().sum(),
        lambda a, b: kernels.pair_sum(a[:7], b, same, 2.0),
    ):
        first, second = (each.to(dtype).clone().requires_grad_() for each in (a, b))
        value = part(first, second)
        value.backward()
        found += [value.detach(), first.grad, second.grad]
    return found


def test_the_parts_of_the_gathered_losses_are_those_of_torch():
    found, expected = parts("triton", torch.float32), parts("fused", torch.float64)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert (one - other).norm() <= 2e-6 * other.norm()


def _head(_folder: Path):
    head = impls.implementation("arcface", "sharded_triton")
    torch.manual_seed(5)
    with over():
        module = head.build(num_classes=5, embedding_dim=3, label_smoothing=0.1)
    torch.manual_seed(6)
    x, labels = torch.randn(5, 3), torch.tensor([4, 0, 1, 4, 2])
    own = slice(0, 3) if dist.get_rank() == 0 else slice(3, 5)
    rows = x[own].requires_grad_()
    loss = module(rows, labels[own]).loss
    loss.backward()
    return loss.detach(), rows.grad, module.weight.grad.to_local(), x, labels


def test_a_head_of_two_ranks_is_that_of_one():
    if reason := impls.implementation("arcface", "sharded_triton").outdated():
        pytest.skip(reason)
    first, second = run_ranks(2, _head, 120)
    torch.manual_seed(5)
    reference = impls.implementation("arcface", "reference")
    module = reference.build(num_classes=5, embedding_dim=3, label_smoothing=0.1)
    x, labels = first[3].requires_grad_(), first[4]
    loss = module(x, labels).loss
    loss.backward()
    assert torch.equal(first[0], second[0])
    torch.testing.assert_close(first[0], loss.detach())
    torch.testing.assert_close(torch.cat((first[1], second[1])), x.grad)
    torch.testing.assert_close(torch.cat((first[2], second[2]), 1), module.weight.grad)
