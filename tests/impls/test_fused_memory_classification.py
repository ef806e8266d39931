"""The fused classification losses: the memory that they allocate and keep, and their backward."""

import pytest
import torch

import lossbench.impls.fused.cross_entropy.class_tiles as class_tiles
import lossbench.impls.fused.cross_entropy.logsumexp as logsumexp
import lossbench.impls.products as products
from lossbench import impls
from lossbench.bench.machine.profiler import new_profiler
from tests.makers.bytes_of_calls import peak_bytes, saved_bytes

MIB = 2**20
KEPT_BYTES = 4 * class_tiles.KEPT_ELEMENTS
LOSSES = (
    "softmax",
    "modified_softmax",
    "normface",
    "sphereface",
    "arcface",
    "arcface_guarded",
    "softmax_center",
    "softmax_center_unsquared",
)
EVERY = pytest.mark.parametrize("loss", LOSSES)
# The number of saved elements: enough for all tiles' scores, for the first tile's, and none.
KEPT_AND_RECOMPUTED = pytest.mark.parametrize("kept_elements", [2**22, 24 * 128, 0])


@pytest.fixture
def tiled(monkeypatch):
    """Force tiles for few classes too."""
    monkeypatch.setattr(logsumexp, "DENSE_ELEMENTS", 0)


@pytest.fixture(params=[2**20, 0], ids=["dense", "tiled"])
def either(request, monkeypatch):
    """Compute few classes at once, and then in tiles."""
    monkeypatch.setattr(logsumexp, "DENSE_ELEMENTS", request.param)


WITH_TILES = pytest.mark.usefixtures("tiled")
EITHER_WAY = pytest.mark.usefixtures("either")


def build(loss, classes, dim, variant="fused", dtype=torch.float32, **arguments):
    torch.manual_seed(0)
    implementation = impls.implementation(loss, variant)
    module = implementation.build(num_classes=classes, embedding_dim=dim, **arguments)
    return module.to(dtype)


def inputs(batch, classes, dim, dtype=torch.float32):
    torch.manual_seed(1)
    embeddings = torch.randn(batch, dim, dtype=dtype).requires_grad_()
    return embeddings, torch.randint(classes, (batch,))


def leaves(module, embeddings):
    return [embeddings, *(p for _, p in sorted(module.named_parameters()))]


def step(module, embeddings, labels, upstream=1.0):
    """Return the loss and the gradients of all embeddings and parameters that require one."""
    loss = module(embeddings, labels).loss
    wanted = [leaf for leaf in leaves(module, embeddings) if leaf.requires_grad]
    return loss, torch.autograd.grad(loss, wanted, torch.full_like(loss, upstream))


def kept_bytes(module, embeddings, labels):
    """Return the bytes kept for the backward pass beside the inputs and the parameters."""
    kept, out = saved_bytes(lambda: module(embeddings, labels), labels, *leaves(module, embeddings))
    assert out.loss.requires_grad
    return kept


def test_100_000_classes_fit_in_the_gradient_and_64_mib():
    module, (embeddings, labels) = build("arcface", 100_000, 512), inputs(256, 100_000, 512)
    peak, (_, gradients) = peak_bytes(lambda: step(module, embeddings, labels))
    assert peak <= sum(g.nbytes for g in gradients) + 64 * MIB


@EVERY
def test_never_holds_scores_of_the_whole_batch(loss):
    batch, classes, dim = 512, 40_000, 16
    module, (embeddings, labels) = build(loss, classes, dim), inputs(batch, classes, dim)
    peak, (_, gradients) = peak_bytes(lambda: step(module, embeddings, labels))
    assert peak <= sum(g.nbytes for g in gradients) + 10 * MIB + KEPT_BYTES < 4 * batch * classes


@pytest.mark.parametrize("loss", ["softmax", "arcface"])
def test_smoothing_makes_all_logits_at_once_as_documented(loss):
    batch, classes, dim = 512, 40_000, 16
    module = build(loss, classes, dim, label_smoothing=0.1)
    peak, (_, gradients) = peak_bytes(lambda: step(module, *inputs(batch, classes, dim)))
    # The logits, and twice as many numbers on the way to their gradient.
    scores = (peak - sum(g.nbytes for g in gradients)) / (4 * batch * classes)
    assert 1 < scores < 4


@EVERY
def test_keeps_a_few_numbers_a_sample_and_a_class(loss):
    batch, classes, dim = 512, 40_000, 16
    module, (embeddings, labels) = build(loss, classes, dim), inputs(batch, classes, dim)
    center_difference = 4 * batch * dim if "center" in loss else 0
    kept = kept_bytes(module, embeddings, labels)
    assert kept <= KEPT_BYTES + 4 * (10 * batch + 2 * classes) + center_difference


@EVERY
def test_keeps_the_scores_of_the_first_tiles(loss):
    few = kept_bytes(build(loss, 2000, 8), *inputs(256, 2000, 8))
    assert few >= 4 * 256 * 2000
    many = kept_bytes(build(loss, 50_000, 8), *inputs(512, 50_000, 8))
    assert KEPT_BYTES * 0.8 <= many <= KEPT_BYTES + 4 * (50 * 512 + 2 * 50_000)


@EVERY
@WITH_TILES
@KEPT_AND_RECOMPUTED
def test_several_tiles_agree_with_the_reference(loss, kept_elements, monkeypatch):
    monkeypatch.setattr(class_tiles, "KEPT_ELEMENTS", kept_elements)
    monkeypatch.setattr(class_tiles, "TILE_ELEMENTS", 128 * 24)
    results = []
    for variant in ("reference", "fused"):
        module = build(loss, 300, 12, variant, torch.float64)
        loss_value, gradients = step(module, *inputs(24, 300, 12, torch.float64), upstream=-1.7)
        results.append((loss_value, *gradients))
    torch.testing.assert_close(results[1], results[0], rtol=1e-11, atol=1e-14)


@WITH_TILES
@KEPT_AND_RECOMPUTED
@pytest.mark.parametrize("loss", ["normface", "arcface"])
@pytest.mark.parametrize("scale", [64, 65, 1000])
def test_no_scale_is_too_large_for_the_powers(loss, scale, kept_elements, monkeypatch):
    monkeypatch.setattr(class_tiles, "KEPT_ELEMENTS", kept_elements)
    monkeypatch.setattr(class_tiles, "TILE_ELEMENTS", 128 * 24)
    exact = build(loss, 300, 12, "reference", torch.float64, scale=scale)
    module, (embeddings, labels) = build(loss, 300, 12, scale=scale), inputs(24, 300, 12)
    expected = step_of(exact, embeddings.detach().double().requires_grad_(), labels)
    for value, wanted in zip(step_of(module, embeddings, labels), expected, strict=True):
        assert (value.double() - wanted).norm() <= 1e-6 * scale * wanted.norm()


@EVERY
@WITH_TILES
@KEPT_AND_RECOMPUTED
def test_a_second_backward_pass_over_a_kept_graph_gives_the_same(loss, kept_elements, monkeypatch):
    monkeypatch.setattr(class_tiles, "KEPT_ELEMENTS", kept_elements)
    module, (embeddings, labels) = build(loss, 300, 12), inputs(24, 300, 12)
    value = module(embeddings, labels).loss
    once = torch.autograd.grad(value, leaves(module, embeddings), retain_graph=True)
    again = torch.autograd.grad(value, leaves(module, embeddings))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@EVERY
@EITHER_WAY
def test_double_backward_is_refused(loss):
    module, (embeddings, labels) = build(loss, 30, 8), inputs(12, 30, 8)
    value = module(embeddings, labels).loss
    (gradient,) = torch.autograd.grad(value, module.weight, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        gradient.sum().backward()


@EVERY
@EITHER_WAY
def test_a_gradient_penalty_is_refused_and_not_dropped(loss):
    module, (embeddings, labels) = build(loss, 30, 8), inputs(12, 30, 8)
    value = module(embeddings, labels).loss
    (gradient,) = torch.autograd.grad(value, embeddings, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(value + gradient.square().sum(), module.weight)


@EVERY
@WITH_TILES
@KEPT_AND_RECOMPUTED
@pytest.mark.parametrize("frozen", ["weight", "embeddings"])
def test_what_is_frozen_gets_no_gradient_and_costs_none(loss, frozen, kept_elements, monkeypatch):
    monkeypatch.setattr(class_tiles, "KEPT_ELEMENTS", kept_elements)
    module, (embeddings, labels) = build(loss, 300, 12), inputs(24, 300, 12)
    _, everything = step(module, embeddings, labels)
    names = [id(leaf) for leaf in leaves(module, embeddings)]
    if loss == "sphereface":
        module.iteration.zero_()
    held = embeddings if frozen == "embeddings" else module.weight
    held.requires_grad_(False)
    _, partial = step(module, embeddings, labels)
    expected = [g for g, name in zip(everything, names, strict=True) if name != id(held)]
    assert len(partial) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(partial, expected, strict=True))


def test_a_frozen_weight_is_never_given_room():
    module, (embeddings, labels) = build("arcface", 100_000, 256), inputs(64, 100_000, 256)
    module.weight.requires_grad_(False)
    peak, _ = peak_bytes(lambda: step(module, embeddings, labels))
    assert peak <= 16 * MIB + KEPT_BYTES < module.weight.nbytes


@EVERY
@pytest.mark.skipif(not products.HAS_ONEDNN, reason="needs oneDNN")
def test_the_products_of_every_tile_are_onednns(loss):
    module, (embeddings, labels) = build(loss, 20_000, 128), inputs(64, 20_000, 128)
    with new_profiler() as profiler:
        step(module, embeddings, labels)
    names = [event.name for event in profiler.events()]
    tiles = -(-20_000 // (class_tiles.TILE_ELEMENTS // 128))
    assert names.count("mkldnn::_linear_pointwise") == 3 * tiles
    assert not {"aten::mm", "aten::addmm", "aten::addmm_"} & set(names)


@EVERY
@EITHER_WAY
def test_without_gradients_nothing_is_kept(loss):
    module, (embeddings, labels) = build(loss, 300, 12), inputs(24, 300, 12)
    with torch.no_grad():
        assert module(embeddings, labels).loss.grad_fn is None


@EVERY
@EITHER_WAY
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_autocast_lowers_no_product(loss, given):
    module, (embeddings, labels) = build(loss, 300, 12), inputs(24, 300, 12, given)
    plain = [value.float() for value in step_of(module, embeddings, labels)]
    if loss == "sphereface":
        module.iteration.zero_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = [value.float() for value in step_of(module, embeddings, labels)]
    torch.testing.assert_close(
        lowered,
        plain,
        # Under autocast the inputs are widened once, and their gradients rounded once.
        **({"rtol": 1e-6, "atol": 0} if given == torch.float32 else {"rtol": 2e-2, "atol": 1e-5}),
    )


def step_of(module, embeddings, labels):
    value, gradients = step(module, embeddings, labels)
    assert value.isfinite()
    assert gradients[0].dtype == embeddings.dtype
    return (value, *gradients)


@EVERY
@WITH_TILES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@KEPT_AND_RECOMPUTED
def test_half_precision_is_no_further_off_than_its_inputs(loss, dtype, kept_elements, monkeypatch):
    monkeypatch.setattr(class_tiles, "KEPT_ELEMENTS", kept_elements)
    embeddings, labels = inputs(24, 3000, 12, dtype)
    module = build(loss, 3000, 12, dtype=dtype)
    exact = build(loss, 3000, 12, "reference").to(dtype).double()
    wide = embeddings.detach().double().requires_grad_()
    given, expected = step_of(module, embeddings, labels), step_of(exact, wide, labels)
    for value, wanted in zip(given, expected, strict=True):
        assert value.dtype == dtype
        error = (value.double() - wanted).norm() / wanted.norm()
        assert error <= 2 * torch.finfo(dtype).eps
