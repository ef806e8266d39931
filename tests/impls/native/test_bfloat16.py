"""Losses in bfloat16, whose products some processors compute by an own instruction."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossbench import impls
from lossbench.impls.native import cross_entropy
from tests.impls.native.test_operators import labels_of
from tests.makers.native import is_close, is_equal_by_threads, quiet, strided

pytestmark = pytest.mark.usefixtures("loaded")

# Heads whose rows and columns are scaled, or not.
ENTROPIES = ("softmax", "modified_softmax", "normface", "sphereface", "softmax_center")
LOSSES = (*ENTROPIES, "center_mse", "island")
PAIRWISE = ("pairwise_distance", "pairwise_squared_distance")
BATCHES = (1, 2, 15, 16, 17, 63, 64, 65, 300)
DIMS = (15, 16, 17, 63, 64, 65)
CLASSES = (2, 10, 15, 16, 17, 33, 63, 64, 65, 257, 600)
# A share of the largest element: gradients are sums over derivatives with errors of 2^-9.
ROUNDING = 1.5e-2


def run(loss, variant, x, labels, classes, dtype, layout="plain"):
    """Return the loss and all gradients of bfloat16 numbers, computed in a dtype."""
    torch.manual_seed(3)
    sizes = {"num_classes": classes, "embedding_dim": x.size(1), "batch_size": x.size(0)}
    wanted = {name: sizes[name] for name in impls.loss(loss).arguments if name in sizes}
    module = impls.implementation(loss, variant).build(**wanted).bfloat16().to(dtype)
    for parameter in module.parameters():
        parameter.data = strided(parameter.data, layout)
    leaf = strided(x.to(dtype), layout).detach().requires_grad_()
    out = module(embeddings=leaf, labels=labels).loss
    (1.5 * out).backward()
    grads = [p.grad for p in module.parameters() if p.requires_grad]
    return [value.detach().double() for value in (out, leaf.grad, *grads)]


def check(loss, x, labels, classes, layout="plain"):
    """Hold the loss in bfloat16 against the reference in float64."""
    found = run(loss, "native", x, labels, classes, torch.bfloat16, layout)
    is_close(found, run(loss, "reference", x, labels, classes, torch.float64), ROUNDING)


@pytest.mark.parametrize("loss", LOSSES)
@quiet
@given(
    batch=st.sampled_from(BATCHES),
    dim=st.sampled_from(DIMS),
    classes=st.sampled_from(CLASSES),
    layout=st.sampled_from(["plain", "transposed", "sliced", "shifted"]),
    seed=st.integers(0, 100),
)
def test_every_size_gives_the_reference_s_values(loss, batch, dim, classes, layout, seed):
    torch.manual_seed(seed)
    x = torch.randn(batch, dim).bfloat16()
    check(loss, x, labels_of("random", batch, classes), classes, layout)


@pytest.mark.parametrize("loss", PAIRWISE)
@quiet
@given(
    batch=st.sampled_from(BATCHES),
    others=st.sampled_from(BATCHES),
    dim=st.sampled_from(DIMS),
    layout=st.sampled_from(["plain", "transposed", "sliced", "shifted"]),
    seed=st.integers(0, 100),
)
def test_every_size_gives_the_reference_s_distances(loss, batch, others, dim, layout, seed):
    torch.manual_seed(seed)
    a, b = torch.randn(batch, dim).bfloat16(), torch.randn(others, dim).bfloat16()
    found = distances(loss, "native", a, b, torch.bfloat16, layout)
    is_close(found, distances(loss, "reference", a, b, torch.float64), ROUNDING)


def distances(loss, variant, a, b, dtype, layout="plain"):
    """Return the distances of bfloat16 rows and both gradients, computed in a dtype."""
    given = [strided(rows.to(dtype), layout).detach().requires_grad_() for rows in (a, b)]
    out = impls.implementation(loss, variant).build()(*given).distances
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(5)).bfloat16()
    grads = torch.autograd.grad(out, given, upstream.to(out.dtype))
    return [value.detach().double() for value in (out, *grads)]


@pytest.mark.parametrize("loss", PAIRWISE)
def test_the_number_of_threads_changes_no_bit_of_distances(loss):
    torch.manual_seed(0)
    a, b = torch.randn(300, 96).bfloat16(), torch.randn(333, 96).bfloat16()
    is_equal_by_threads(lambda: distances(loss, "native", a, b, torch.bfloat16))


def test_equal_rows_are_at_no_distance():
    torch.manual_seed(0)
    rows = torch.randn(70, 301).bfloat16()
    squares = distances("pairwise_squared_distance", "native", rows, rows, torch.bfloat16)[0]
    assert not squares.diagonal().any()


@pytest.mark.parametrize("loss", ENTROPIES)
def test_powers_that_are_not_kept_are_computed_again(loss, monkeypatch):
    torch.manual_seed(0)
    x, labels = torch.randn(70, 33).bfloat16(), torch.randint(0, 600, (70,))
    kept = run(loss, "native", x, labels, 600, torch.bfloat16)
    monkeypatch.setattr(cross_entropy, "KEPT_ELEMENTS", 0)
    again = run(loss, "native", x, labels, 600, torch.bfloat16)
    is_close(again, kept, ROUNDING)
    check(loss, x, labels, 600)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("batch", "dim", "classes"), [(300, 96, 700), (900, 512, 10), (130, 256, 2000)]
)
def test_the_number_of_threads_changes_no_bit(loss, batch, dim, classes):
    torch.manual_seed(0)
    x, labels = torch.randn(batch, dim).bfloat16(), torch.randint(0, classes, (batch,))
    is_equal_by_threads(lambda: run(loss, "native", x, labels, classes, torch.bfloat16))


def test_a_sample_that_is_left_out_adds_nothing():
    torch.manual_seed(0)
    x, labels = torch.randn(65, 33).bfloat16(), torch.randint(0, 40, (65,))
    labels[-3:] = -7
    found = [native_gradients(x[:count], labels[:count], ignore_index=-7) for count in (62, 65)]
    for fewer, all_of_them in zip(*found, strict=True):
        assert torch.equal(fewer, all_of_them[: fewer.size(0)])
        assert not all_of_them[fewer.size(0) :].any()


def native_gradients(x, labels, **options):
    """Return the gradients of NormFace in bfloat16, under options of the cross-entropy."""
    torch.manual_seed(3)
    loss = impls.implementation("normface", "native")
    module = loss.build(num_classes=40, embedding_dim=x.size(1), **options).bfloat16()
    leaf = x.clone().requires_grad_()
    module(embeddings=leaf, labels=labels).loss.backward()
    return leaf.grad, module.weight.grad
