"""The fused metric losses beyond agreement: memory, sparse gradients, refusals."""

import pytest
import torch

from lossbench import impls
from lossbench.impls.fused.pairs.weighting import weighted_triplet
from lossbench.impls.fused.pairs.weighting_dense import dense_triplet
from tests.makers.bytes_of_calls import peak_bytes, saved_bytes

MIB = 2**20
FLOAT_BYTES = 4
CENTRES = {"num_classes": 50, "embedding_dim": 16}
LABELLED = ("embeddings", "labels")
FUSED = [
    (loss.name, implementation.variant)
    for loss in impls.losses()
    for implementation in impls.implementations(loss.name)
    if implementation.builder.__module__.rpartition(".")[2]
    in {"center", "center_all_pairs", "contrastive", "distance", "island"}
    | {"triplet", "triplet_weighted"}
    and implementation.variant in {"fused", "sparse"}
]
# Autograd computes the gradients of the losses to own centres.
OWN_BACKWARD = [pair for pair in FUSED if pair[0] not in {"center", "center_mse"}]


def build(loss, variant="fused", **arguments):
    torch.manual_seed(0)
    return impls.implementation(loss, variant).build(**arguments)


def batch(size, dim, classes=None, dtype=torch.float32):
    """Return embeddings that require a gradient, and shuffled labels with four samples a class."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, dim, generator=generator, dtype=dtype).requires_grad_()
    labels = torch.arange(size)[torch.randperm(size, generator=generator)] // 4
    return x, labels if classes is None else labels % classes


def inputs_of(loss, dtype=torch.float32):
    """Return a loss's inputs by name, and its arguments."""
    x, labels = batch(32, 16, dtype=dtype)
    names = impls.loss(loss).input_names
    if names == LABELLED:
        inputs = {"embeddings": x, "labels": labels}
    else:
        other = torch.randn(32, 16, generator=torch.Generator().manual_seed(1), dtype=dtype)
        values = (x, other.requires_grad_(), (labels % 2).to(dtype))
        inputs = dict(zip(names, values, strict=False))
    return inputs, CENTRES if impls.loss(loss).has_classes else {}


def step(module, *inputs):
    """Return a function that computes the gradients to the first input and to the parameters."""
    leaves = [inputs[0], *module.parameters()]
    return lambda: torch.autograd.grad(module(*inputs)[0], leaves)


@pytest.mark.parametrize(
    ("loss", "extra_mib"),
    [("triplet_batch_hard", 8), ("triplet_weighted_unshifted", 16), ("triplet_weighted", 16)],
)
def test_a_large_batch_never_has_all_its_distances(loss, extra_mib):
    x, labels = batch(4096, 128)
    module = build(loss)
    peak, _ = peak_bytes(step(module, x, labels))
    assert peak <= extra_mib * MIB < 4096 * 4096 * FLOAT_BYTES
    saved, _ = saved_bytes(lambda: module(x, labels), x, labels)
    assert saved <= 1.1 * x.nbytes


@pytest.mark.parametrize("loss", ["triplet_batch_hard", "triplet_weighted_unshifted"])
def test_triplets_without_gradient_keep_nothing(loss):
    x, labels = batch(512, 32)
    with torch.no_grad():
        saved, out = saved_bytes(lambda: build(loss)(x, labels), x, labels)
    assert saved == 0
    assert not out.loss.requires_grad


@pytest.mark.parametrize(
    "loss", ["triplet_batch_hard", "triplet_weighted", "triplet_weighted_unshifted"]
)
@pytest.mark.parametrize("classes", [2, 3, 75])
def test_blocks_agree_with_all_at_once_whatever_the_bands(loss, classes):
    x, labels = batch(700, 8, classes, torch.float64)
    (expected,) = step(build(loss, "vectorized"), x, labels)()
    (actual,) = step(build(loss), x, labels.int())()
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("classes", [2, 75])
def test_batch_hard_mines_the_same_distances_in_float32(classes):
    x, labels = batch(700, 8, classes)
    exact = build("triplet_batch_hard", "vectorized")(x.double(), labels)
    out = build("triplet_batch_hard")(x, labels)
    assert out.correct == exact.correct
    torch.testing.assert_close(out.loss.double(), exact.loss, rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", ["triplet_weighted", "triplet_weighted_unshifted"])
def test_directions_have_the_vectorized_gradient_down_to_no_length_at_all(loss):
    x, labels = batch(40, 8, 5, torch.float64)
    lengths = torch.ones(40, 1, dtype=torch.float64)
    lengths[:3, 0] = torch.tensor([0, 1e-12, 1e-9])
    x = (x.detach() * lengths).requires_grad_()
    expected, actual = (
        step(build(loss, variant, normalize=True), x, labels)()[0]
        for variant in ("vectorized", "fused")
    )
    assert actual[0].norm() > 0
    # A shorter row has a larger gradient, by the same factor.
    for rows in (slice(1), slice(1, 2), slice(2, 3), slice(3, None)):
        torch.testing.assert_close(actual[rows], expected[rows], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 75])
@pytest.mark.parametrize(("epsilon", "shifted"), [(1e-6, False), (0, True)])
def test_all_pairs_at_once_agree_with_blocks_of_them(classes, epsilon, shifted):
    x, labels = batch(300, 8, classes, torch.float64)
    weight = {"epsilon": epsilon, "shifted": shifted, "wants_gradient": True}
    expected, actual = (
        weigh(x.detach(), labels, **weight) for weigh in (weighted_triplet, dense_triplet)
    )
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-14, equal_nan=True)


def test_island_takes_a_million_classes():
    module = build("island", num_classes=1_000_000, embedding_dim=64)
    x, labels = batch(128, 64)
    peak, grads = peak_bytes(step(module, x, labels))
    assert peak <= 1.1 * module.centers.nbytes
    assert all(grad.isfinite().all() for grad in grads)
    saved, _ = saved_bytes(lambda: module(x, labels), x, labels, module.centers)
    assert saved <= module.centers.nbytes / 32


def test_center_all_pairs_holds_no_cube():
    module = build("center_all_pairs", num_classes=1000, embedding_dim=512)
    x, labels = batch(256, 512, 1000)
    peak, _ = peak_bytes(step(module, x, labels))
    assert peak <= module.centers.nbytes + 8 * x.nbytes
    assert peak < 256 * 256 * 512 * FLOAT_BYTES / 10


def test_center_all_pairs_keeps_its_digits_on_the_centres():
    x, labels = batch(32, 16)[0], torch.arange(32)
    module, reference = (build("center_all_pairs", v, **CENTRES) for v in ("fused", "reference"))
    with torch.no_grad():
        x += 100
        module.centers[:32] = x + 1e-4
        reference.load_state_dict(module.state_dict())
    expected = step(reference.double(), x.detach().double().requires_grad_(), labels)()
    for grad, exact in zip(step(module, x, labels)(), expected, strict=True):
        assert (grad - exact).norm() <= 1e-5 * exact.norm()


@pytest.mark.parametrize("variant", ["fused", "sparse"])
@pytest.mark.parametrize("loss", ["center_mse", "center"])
def test_centres_cost_no_more_than_their_gradient(loss, variant):
    module = build(loss, variant, num_classes=20_000, embedding_dim=64)
    x, labels = batch(256, 64)
    peak, _ = peak_bytes(step(module, x, labels))
    dense = module.centers.nbytes if variant == "fused" else 0
    assert peak <= dense + 6 * x.nbytes


@pytest.mark.parametrize("loss", ["center_mse", "center"])
def test_a_sparse_gradient_is_the_dense_one(loss):
    x, labels = batch(32, 16)
    dense_x, dense = step(build(loss, "fused", **CENTRES), x, labels)()
    sparse_x, sparse = step(build(loss, "sparse", **CENTRES), x, labels)()
    assert sparse.layout == torch.sparse_coo
    assert torch.equal(sparse.coalesce().indices()[0], labels.unique())
    torch.testing.assert_close(sparse.to_dense(), dense)
    torch.testing.assert_close(sparse_x, dense_x)


@pytest.mark.parametrize("loss", ["center_mse", "center"])
def test_sgd_steps_alike_on_a_sparse_gradient(loss):
    x, labels = batch(32, 16)
    centers = []
    for variant in ("fused", "sparse"):
        module = build(loss, variant, **CENTRES)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            module(x, labels).loss.backward()
            optimizer.step()
        centers.append(module.centers)
    torch.testing.assert_close(*centers)


@pytest.mark.parametrize("loss", ["center_mse", "center"])
def test_sparse_adam_takes_the_sparse_gradient(loss):
    x, labels = batch(32, 16)
    module = build(loss, "sparse", **CENTRES)
    before = module.centers.detach().clone()
    module(x, labels).loss.backward()
    torch.optim.SparseAdam(module.parameters()).step()
    moved = (module.centers != before).any(1)
    assert torch.equal(moved.nonzero().squeeze(1), labels.unique())


@pytest.mark.parametrize(("loss", "variant"), OWN_BACKWARD)
def test_double_backward_is_refused(loss, variant):
    inputs, arguments = inputs_of(loss)
    out = build(loss, variant, **arguments)(**inputs)[0].sum()
    (grad,) = torch.autograd.grad(out, next(iter(inputs.values())), create_graph=True)
    with pytest.raises(RuntimeError, match="differentiable once"):
        grad.sum().backward()


@pytest.mark.parametrize("variant", ["fused", "sparse"])
@pytest.mark.parametrize("loss", ["center_mse", "center"])
def test_centres_take_a_double_backward(loss, variant):
    inputs, arguments = inputs_of(loss, torch.float64)
    second = []
    for name in ("vectorized", variant):
        module = build(loss, name, **arguments).double()
        out = module(**inputs).loss
        (grad,) = torch.autograd.grad(out, inputs["embeddings"], create_graph=True)
        grads = torch.autograd.grad(grad.square().sum(), [inputs["embeddings"], module.centers])
        second.append([grad.to_dense() for grad in grads])
    torch.testing.assert_close(*second)


@pytest.mark.parametrize("batch", [12, 600])
def test_batch_hard_without_negatives_has_no_loss(batch):
    x = torch.randn(batch, 4, requires_grad=True)
    labels = torch.zeros(batch, dtype=torch.int64)
    module = impls.implementation("triplet_batch_hard", "fused").build(validate=False)
    out = module(x, labels)
    assert (out.loss, out.correct) == (0, batch)
    assert not torch.autograd.grad(out.loss, x)[0].any()


@pytest.mark.parametrize(("loss", "variant"), FUSED)
def test_autocast_changes_nothing(loss, variant):
    inputs, arguments = inputs_of(loss)
    leaf = next(iter(inputs.values()))
    plain = build(loss, variant, **arguments)(**inputs)[0]
    module = build(loss, variant, **arguments)
    with torch.autocast("cpu", torch.bfloat16):
        cast = module(**inputs)[0]
        (cast_grad,) = torch.autograd.grad(cast.sum(), leaf)
    assert torch.equal(cast, plain)
    assert torch.equal(cast_grad, torch.autograd.grad(plain.sum(), leaf)[0])


@pytest.mark.parametrize(("loss", "variant"), FUSED)
def test_gradients_scale_with_what_flows_in(loss, variant):
    inputs, arguments = inputs_of(loss, torch.float64)
    module = build(loss, variant, **arguments).double()
    leaves = [t for t in (*inputs.values(), *module.parameters()) if t.requires_grad]
    out = module(**inputs)[0].sum()
    once = torch.autograd.grad(out, leaves, retain_graph=True)
    scaled = torch.autograd.grad(out, leaves, torch.tensor(-3.5, dtype=torch.float64))
    for one, other in zip(once, scaled, strict=True):
        torch.testing.assert_close(other.to_dense(), -3.5 * one.to_dense())


@pytest.mark.parametrize(("loss", "variant"), FUSED)
def test_half_embeddings_meet_wide_parameters(loss, variant):
    if not impls.loss(loss).has_classes:
        pytest.skip("no parameters")
    inputs, arguments = inputs_of(loss, torch.bfloat16)
    module = build(loss, variant, **arguments)
    out = module(**inputs).loss
    grad_x, grad_centers = torch.autograd.grad(out, [inputs["embeddings"], module.centers])
    assert (out.dtype, grad_x.dtype, grad_centers.dtype) == (
        torch.float32,
        torch.bfloat16,
        torch.float32,
    )


@pytest.mark.parametrize("loss", ["contrastive", "contrastive_whole_batch"])
def test_equal_pairs_have_a_finite_gradient(loss):
    x = torch.randn(4, 3, requires_grad=True)
    out = build(loss)(x, x.detach().clone(), torch.tensor([0.0, 1.0, 0.0, 1.0])).loss
    (grad,) = torch.autograd.grad(out, x)
    assert torch.equal(grad, torch.zeros_like(x))
