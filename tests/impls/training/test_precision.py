"""Mixed and half precision beyond the situations: any scale, sums beyond 65504, unit rows."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

from lossbench import impls
from lossbench.bench.training_loop.precision import HALVES, scales_of
from tests.makers.training import TRAINEES


@pytest.mark.parametrize("dtype", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize(
    "trainee", [t for t in TRAINEES if t.variant in ("fused", "sparse")], ids=str
)
def test_fused_losses_let_any_scale_through(trainee, dtype):
    scales = scales_of(trainee, dtype, lowered=False)
    assert scales == [2.0**16] * 3 + [2.0**17] * 4 + [2.0**18] * 4 + [2.0**19]


@pytest.mark.parametrize("variant", ["reference", "vectorized", "fused"])
def test_a_sum_beyond_65504_is_finite_under_autocast(variant):
    torch.manual_seed(0)
    module = impls.build("softmax_center", variant, num_classes=5000, embedding_dim=8)
    embeddings = torch.randn(9000, 8).half().requires_grad_()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = module(embeddings, torch.randint(5000, (9000,))).loss
    assert 7e4 < loss < 1e5


@pytest.mark.parametrize("name", ["triplet_batch_hard", "triplet_weighted"])
@pytest.mark.parametrize("variant", ["reference", "vectorized", "fused"])
def test_unit_rows_in_float16_have_a_finite_gradient(name, variant):
    for seed in range(10):
        torch.manual_seed(seed)
        x = F.normalize(torch.randn(256, 128)).half().requires_grad_()
        impls.build(name, variant)(x, torch.arange(256) // 8).loss.backward()
        assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize(
    "trainee",
    [t for t in TRAINEES if t.variant != "reference" and t.loss.has_classes],
    ids=str,
)
def test_the_gradient_to_centers_is_summed_wide_over_many_samples(trainee, dtype):
    module = trainee.implementation.build(num_classes=2, embedding_dim=4, **trainee.arguments)
    centers = dict(module.named_parameters()).get("centers")
    if centers is None or not centers.requires_grad:
        pytest.skip("no centres that follow a gradient")
    torch.manual_seed(0)
    x, labels = torch.randn(2048, 4).to(dtype), torch.randint(2, (2048,))
    module.to(dtype)
    exact = gradient_to_centers(deepcopy(module).double(), x.double(), labels)
    found = gradient_to_centers(module, x, labels)
    assert torch.dist(found, exact) <= 2 * torch.finfo(dtype).eps * exact.norm()


def gradient_to_centers(module, x, labels):
    module(x, labels).loss.backward()
    return module.centers.grad.to_dense().double()
