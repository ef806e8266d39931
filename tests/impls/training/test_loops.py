"""What a training loop does with one module: each against the reference doing the same."""

import copy
import itertools

import pytest
import torch

from lossbench import impls
from tests.makers.training import (
    EVERY,
    Entrant,
    Net,
    draw,
    gradients,
    reference_of,
    state,
    step,
)


def accumulated(net, loss):
    for index in range(3):
        (net(*draw(loss, index)) / 3).backward()


def two_forwards(net, loss):
    (2 * net(*draw(loss)) + net(*draw(loss, 1))).backward()


def shared_embedding(net, loss):
    first, *others = draw(loss)
    rows = net.backbone(first)
    sides = [rows, *(net.backbone(x) for x in others[: net.sides - 1])]
    given = net.head(*sides, *others[net.sides - 1 :])[0].sum()
    (given + rows.square().sum() + 3 * given).backward()


def retained(net, loss):
    given = net(*draw(loss))
    given.backward(retain_graph=True)
    given.backward()


def frozen_backbone(net, loss):
    net.backbone.requires_grad_(False)
    given = net(*draw(loss))
    if given.requires_grad:
        given.backward()


def frozen_head(net, loss):
    net.head.requires_grad_(False)
    net(*draw(loss)).backward()


LOOPS = pytest.mark.parametrize(
    "loop",
    [accumulated, two_forwards, shared_embedding, retained, frozen_backbone, frozen_head],
    ids=lambda loop: loop.__name__,
)


@EVERY
@LOOPS
def test_gives_the_gradients_and_the_state_of_the_reference(entrant, loop):
    results = []
    for each in (entrant, reference_of(entrant)):
        net = Net(each)
        loop(net, each.loss)
        results.append({**gradients(net), **{f"{k} after": v for k, v in state(net).items()}})
    torch.testing.assert_close(*results, rtol=2e-4, atol=2e-5)


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.02)


def momentum(parameters):
    return torch.optim.SGD(parameters, 0.02, momentum=0.9, nesterov=True)


def decay(parameters):
    return torch.optim.SGD(parameters, 0.02, weight_decay=0.01)


def adamw(parameters):
    return torch.optim.AdamW(parameters, 0.01, foreach=True)


def fused_adamw(parameters):
    return torch.optim.AdamW(parameters, 0.01, fused=True)


def adagrad(parameters):
    return torch.optim.Adagrad(parameters, 0.05)


def trained(entrant, optimizer, *, clip=False):
    """Return the state after three steps, of float64 so that small gradients do not part."""
    net = Net(entrant).double()
    made = optimizer(list(net.parameters()))
    for index in range(3):
        made.zero_grad()
        inputs = draw(entrant.loss, index)
        net(*(x.double() if x.is_floating_point() else x for x in inputs)).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        made.step()
    return state(net)


TAKE_SPARSE = (sgd, momentum, adagrad)


# Adagrad makes a sparse tensor, of which torch warns once that it does not check it.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@EVERY
@pytest.mark.parametrize(
    "optimizer",
    [sgd, momentum, decay, adamw, fused_adamw, adagrad],
    ids=lambda optimizer: optimizer.__name__,
)
def test_every_optimizer_trains_as_with_the_reference(entrant, optimizer):
    if entrant.limit("optimizers") and optimizer not in TAKE_SPARSE:
        with pytest.raises(RuntimeError, match="sparse"):
            trained(entrant, optimizer)
        return
    expected = trained(reference_of(entrant), optimizer)
    torch.testing.assert_close(trained(entrant, optimizer), expected, rtol=1e-6, atol=1e-8)


@EVERY
def test_clipped_gradients_train_as_with_the_reference(entrant):
    if entrant.limit("optimizers"):
        with pytest.raises((RuntimeError, NotImplementedError), match=r"[Ss]parse"):
            trained(entrant, sgd, clip=True)
        return
    expected = trained(reference_of(entrant), sgd, clip=True)
    torch.testing.assert_close(trained(entrant, sgd, clip=True), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["center", "center_mse"])
def test_sparse_gradients_suit_sparse_adam(name):
    net = Net(Entrant(impls.implementation(name, "sparse")))
    optimizer = torch.optim.SparseAdam(net.head.parameters())
    before = state(net)["head.centers"]
    step(net, draw(impls.loss(name)), optimizer)
    present = draw(impls.loss(name))[1].unique()
    moved = (state(net)["head.centers"] != before).any(1).nonzero().flatten()
    assert torch.equal(moved, present)


@EVERY
def test_an_averaged_copy_follows(entrant):
    net = Net(entrant)
    average = torch.optim.swa_utils.AveragedModel(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.02)
    seen = []
    for index in range(2):
        step(net, draw(entrant.loss, index), optimizer)
        average.update_parameters(net)
        seen.append(state(net))
    expected = {k: (seen[0][k] + seen[1][k]) / 2 for k, _ in net.named_parameters()}
    averaged = {k: v.detach() for k, v in average.module.named_parameters()}
    torch.testing.assert_close(averaged, expected)
    assert torch.isfinite(average.module(*draw(entrant.loss)))


def in_mid_training(entrant):
    """Return a net and its optimizer after two steps."""
    net = Net(entrant).double()
    optimizer = torch.optim.Adagrad(net.parameters(), 0.05)
    for index in range(2):
        step(net, doubled(entrant, index), optimizer)
    return net, optimizer


def doubled(entrant, index):
    return tuple(x.double() if x.is_floating_point() else x for x in draw(entrant.loss, index))


PAIRS = [
    pytest.param(before, after, id=f"{before}-to-{after.implementation.variant}")
    for _, group in itertools.groupby(EVERY.args[1], key=lambda e: e.loss.name)
    for before, after in itertools.permutations(group, 2)
    if before.arguments == after.arguments
]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_another_variant_takes_over_in_mid_training(before, after):
    net, optimizer = in_mid_training(before)
    heir = Net(after).double()
    heir.load_state_dict(state(net))
    heir_optimizer = torch.optim.Adagrad(heir.parameters(), 0.05)
    heir_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, made in ((net, optimizer), (heir, heir_optimizer)):
        step(each, doubled(before, 2), made)
    torch.testing.assert_close(state(heir), state(net), rtol=1e-6, atol=1e-8)
