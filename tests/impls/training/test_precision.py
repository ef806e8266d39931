"""Mixed and half precision: the loss's dtype, a scaler's scale, and finite gradients."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from lossbench import impls
from tests.makers.training import ENTRANTS, EVERY, Net, draw, gradients, reference_of

HALF = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


@EVERY
@HALF
def test_under_autocast_the_loss_is_float32_and_near_the_exact_one(entrant, dtype):
    inputs = draw(entrant.loss)
    with torch.autocast("cpu", dtype=dtype):
        loss = Net(entrant)(*inputs)
    exact = Net(reference_of(entrant))(*inputs)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)


def scales_of(entrant, dtype, lowered):
    """Return a scaler's scale after each of 12 steps, which it doubles after four good ones.

    Args:
        entrant: what is trained.
        dtype: the dtype of autocast.
        lowered: whether the backbone is within autocast too, so that it rounds its gradients.
    """
    net = Net(entrant)
    optimizer = torch.optim.SGD(net.parameters(), 1e-4)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=4)
    scales = []
    for index in range(12):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=dtype):
            loss = net(*draw(entrant.loss, index), lowered=lowered)
        scaled = scaler.scale(loss)
        assert torch.isfinite(scaled)
        scaled.backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    assert all(torch.isfinite(p).all() for p in net.parameters())
    return scales


@pytest.mark.parametrize("entrant", [e for e in ENTRANTS if e.loss.kind == "loss"], ids=str)
@HALF
def test_trains_under_a_scaler_with_few_steps_left_out(entrant, dtype):
    scales = [2.0**16, *scales_of(entrant, dtype, lowered=True)]
    left_out = sum(after < before for before, after in pairwise(scales))
    # A gradient beyond 65,504 at a scale of 65,536 is the model's, as with any loss.
    assert left_out <= 6


@pytest.mark.parametrize(
    "entrant", [e for e in ENTRANTS if e.implementation.variant in ("fused", "sparse")], ids=str
)
@HALF
def test_fused_losses_let_any_scale_through(entrant, dtype):
    scales = scales_of(entrant, dtype, lowered=False)
    assert scales == [2.0**16] * 3 + [2.0**17] * 4 + [2.0**18] * 4 + [2.0**19]


@pytest.mark.parametrize("variant", ["reference", "vectorized", "fused"])
def test_a_sum_beyond_65504_is_finite_under_autocast(variant):
    torch.manual_seed(0)
    module = impls.build("softmax_center", variant, num_classes=5000, embedding_dim=8)
    embeddings = torch.randn(9000, 8).half().requires_grad_()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = module(embeddings, torch.randint(5000, (9000,))).loss
    assert 7e4 < loss < 1e5


@EVERY
@HALF
def test_half_precision_is_finite_at_ordinary_scale(entrant, dtype):
    if entrant.implementation.unsupported("cpu", dtype):
        pytest.skip("takes no half precision")
    net = Net(entrant).to(dtype)
    inputs = tuple(x.to(dtype) if x.is_floating_point() else x for x in draw(entrant.loss))
    loss = net(*inputs)
    loss.backward()
    assert loss.dtype == dtype
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(net).values())


@pytest.mark.parametrize("name", ["triplet_batch_hard", "triplet_weighted"])
@pytest.mark.parametrize("variant", ["reference", "vectorized", "fused"])
def test_unit_rows_in_float16_have_a_finite_gradient(name, variant):
    for seed in range(10):
        torch.manual_seed(seed)
        x = F.normalize(torch.randn(256, 128)).half().requires_grad_()
        impls.build(name, variant)(x, torch.arange(256) // 8).loss.backward()
        assert torch.isfinite(x.grad).all()
