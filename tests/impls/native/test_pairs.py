"""The pair, triplet and distance operators against the references, and what they hold."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossbench import impls
from tests.makers.bytes_of_calls import peak_bytes, saved_bytes
from tests.makers.native import (
    is_equal_by_threads,
    pass_opcheck,
    quiet,
    run_for_target,
    strided,
)

pytestmark = pytest.mark.usefixtures("loaded")

MIB = 2**20
BATCHES = (2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 130)
DIMS = (1, 2, 15, 16, 17, 64, 65, 130, 300)
TRIPLETS = ("triplet_batch_hard", "triplet_weighted", "triplet_weighted_unshifted")
CONTRASTIVE = ("contrastive", "contrastive_whole_batch")
PAIRWISE = ("pairwise_distance", "pairwise_squared_distance")
LOSSES = (*TRIPLETS, *CONTRASTIVE, *PAIRWISE, "vector_distance")
PATTERNS = ("random", "singletons", "one other", "sorted")
LAYOUTS = ("plain", "transposed", "sliced")


def labels_of(pattern, batch):
    """Return labels of two classes or more, some of them beyond 32 bits."""
    if pattern == "singletons":
        return torch.randperm(batch) + 2**40
    if pattern == "one other":
        return (torch.arange(batch) == batch // 2).long()
    labels = torch.randint(0, max(2, batch // 4), (batch,))
    labels[:2] = torch.tensor([1, 0])
    return labels.sort().values if pattern == "sorted" else labels * 2**33


def inputs_of(loss, batch, dim, pattern="random", dtype=torch.float64):
    """Return the inputs of a loss; of ``same`` every other is 1."""
    x, other = torch.randn(2, batch, dim, dtype=dtype)
    if loss in TRIPLETS:
        return [x], [labels_of(pattern, batch)]
    if loss in CONTRASTIVE:
        return [x, x + 0.3 * other / dim**0.5], [(torch.arange(batch) % 2).to(dtype)]
    return [x, other[: max(1, batch // 2)] if loss in PAIRWISE else other], []


def run(loss, variant, leaves, rest, dtype, layout="plain"):
    """Return the outputs and the gradients by a random upstream gradient, in float64."""
    module = impls.implementation(loss, variant).build()
    given = [strided(leaf.to(dtype), layout).detach().requires_grad_() for leaf in leaves]
    out = module(*given, *(r.to(dtype) if r.is_floating_point() else r for r in rest))
    cotangent = torch.randn(out[0].shape, generator=torch.Generator().manual_seed(5))
    grads = torch.autograd.grad(out[0], given, cotangent.to(out[0].dtype))
    return [value.detach().double() for value in (*out, *grads)]


@pytest.mark.parametrize("loss", LOSSES)
@quiet
@given(
    batch=st.sampled_from(BATCHES),
    dim=st.sampled_from(DIMS),
    pattern=st.sampled_from(PATTERNS),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 100),
)
def test_every_size_gives_the_reference_s_values(loss, batch, dim, pattern, layout, seed):
    torch.manual_seed(seed)
    leaves, rest = inputs_of(loss, batch, dim, pattern)
    found = run(loss, "native", leaves, [strided(r, layout) for r in rest], torch.float64, layout)
    # With few features, or singletons, the reference's own distances are rounding errors.
    exact = run(loss, "vectorized", leaves, rest, torch.float64)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch", [300, 1100])
def test_the_number_of_threads_changes_no_bit(loss, batch):
    torch.manual_seed(0)
    leaves, rest = inputs_of(loss, batch, 48)
    is_equal_by_threads(lambda: run(loss, "native", leaves, rest, torch.float32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_share_the_gradient_of_batch_hard(dtype):
    # On a grid distances are exact, so that the reference sees the equals too.
    torch.manual_seed(0)
    x, labels = torch.randint(-1, 2, (70, 5)), torch.randint(0, 4, (70,))
    found = run("triplet_batch_hard", "native", [x], [labels], dtype)
    exact = run("triplet_batch_hard", "reference", [x], [labels], torch.float64)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [600, 1500])
@pytest.mark.parametrize("loss", TRIPLETS)
def test_many_tiles_agree_with_all_at_once(loss, batch):
    torch.manual_seed(0)
    leaves, rest = inputs_of(loss, batch, 9)
    found = run(loss, "native", leaves, rest, torch.float64)
    exact = run(loss, "vectorized", leaves, rest, torch.float64)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("loss", TRIPLETS)
def test_squares_beyond_float32_are_computed_in_float64(loss):
    torch.manual_seed(0)
    leaves, rest = inputs_of(loss, 40, 8)
    large = [1e20 * leaf for leaf in leaves]
    found = run(loss, "native", large, rest, torch.float32)
    exact = run(loss, "native", [leaf.float() for leaf in large], rest, torch.float64)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", TRIPLETS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_no_number_is_hidden(loss, value):
    leaves, rest = inputs_of(loss, 20, 8)
    leaves[0][7, 3] = value
    out, _, gradient = run(loss, "native", leaves, rest, torch.float32)
    assert out.isnan()
    assert gradient.isnan().any()


@pytest.mark.parametrize(
    ("loss", "extra_mib"),
    [("triplet_batch_hard", 7), ("triplet_weighted", 7), ("triplet_weighted_unshifted", 7)],
)
def test_a_large_batch_never_has_all_its_distances(loss, extra_mib):
    x, labels = torch.randn(4096, 128, requires_grad=True), torch.arange(4096) // 4
    module = impls.implementation(loss, "native").build()
    peak, _ = peak_bytes(lambda: torch.autograd.grad(module(x, labels).loss, x))
    assert peak <= extra_mib * MIB < 4 * 4096 * 4096
    saved, _ = saved_bytes(lambda: module(x, labels), x, labels)
    assert saved == x.nbytes
    with torch.no_grad():
        assert saved_bytes(lambda: module(x, labels), x, labels)[0] == 0


@pytest.mark.parametrize(
    ("loss", "dtype"),
    [
        ("contrastive", torch.float32),
        ("vector_distance", torch.float32),
        ("vector_distance", torch.bfloat16),
        ("vector_distance", torch.float16),
    ],
)
def test_differences_have_no_memory_but_their_gradients(loss, dtype):
    leaves, rest = inputs_of(loss, 1000, 128, dtype=dtype)
    given = [leaf.requires_grad_() for leaf in leaves]
    module = impls.implementation(loss, "native").build()
    peak, _ = peak_bytes(lambda: torch.autograd.grad(module(*given, *rest)[0], given))
    assert peak <= 1.05 * sum(leaf.nbytes for leaf in leaves)


@pytest.mark.parametrize(
    ("loss", "dtype"),
    [
        *((loss, torch.float32) for loss in PAIRWISE),
        # Roots are kept in float32 for the backward pass.
        ("pairwise_squared_distance", torch.bfloat16),
    ],
)
def test_pairwise_distances_have_no_copy_of_their_result(loss, dtype):
    leaves, _ = inputs_of(loss, 1000, 32, dtype=dtype)
    given = [leaf.requires_grad_() for leaf in leaves]
    module = impls.implementation(loss, "native").build()
    result = 1000 * 500 * dtype.itemsize
    peak, _ = peak_bytes(lambda: torch.autograd.grad(module(*given)[0].sum(), given))
    assert peak <= 1.6 * result


class Stopped(torch.autograd.Function):
    """A function whose backward pass gives no gradient."""

    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, _upstream):
        return None


@pytest.mark.parametrize("loss", TRIPLETS)
def test_a_loss_without_an_upstream_gradient_gives_none(loss):
    x, labels = torch.randn(6, 4, requires_grad=True), torch.arange(6) % 2
    out = impls.implementation(loss, "native").build()(x, labels)
    Stopped.apply(out.loss).backward()
    assert x.grad is None or not x.grad.any()


@pytest.mark.parametrize("loss", TRIPLETS)
def test_a_label_below_0_is_refused_without_the_checks_too(loss):
    module = impls.implementation(loss, "native").build(validate=False)
    with pytest.raises(RuntimeError, match="labels must be from 0, got -3"):
        module(torch.randn(3, 4), torch.tensor([0, -3, 1]))


@pytest.mark.parametrize("loss", ["triplet_batch_hard", "triplet_weighted"])
@pytest.mark.parametrize("batch", [0, 1, 5])
def test_a_batch_without_negatives_is_refused_without_the_checks_too(loss, batch):
    module = impls.implementation(loss, "native").build(validate=False)
    with pytest.raises(RuntimeError, match="two classes or more"):
        module(torch.randn(batch, 4), torch.full((batch,), 7))


@pytest.mark.parametrize("loss", PAIRWISE)
@pytest.mark.parametrize(("rows", "others"), [(0, 3), (3, 0), (0, 0)])
def test_the_distances_of_no_rows_are_none(loss, rows, others):
    a, b = torch.randn(rows, 4, requires_grad=True), torch.randn(others, 4, requires_grad=True)
    out = impls.implementation(loss, "native").build()(a, b).distances
    assert out.shape == (rows, others)
    grads = torch.autograd.grad(out.sum(), (a, b))
    assert all(not grad.any() for grad in grads)


def samples(dtype):
    """Return every operator's name with arguments for it."""
    torch.manual_seed(0)
    x, other = torch.randn(2, 9, 7, dtype=dtype)
    labels = torch.arange(9) % 3
    one = torch.ones((), dtype=torch.promote_types(dtype, torch.float32))
    distances = torch.ops.lossbench_native.pairwise_distance(x, other[:4], True, False)
    yield "triplet_batch_hard", (x, labels, 0.3, True)
    yield "triplet_weighted", (x, labels, 1e-6, False, False)
    yield "contrastive", (x, other, torch.ones(9, dtype=dtype), 1.2, False, True)
    yield "vector_distance", (x, other)
    yield "vector_distance_backward", (one, x, other, one)
    yield "pairwise_distance", (x, other[:4], False, False)
    yield "pairwise_distance", (x, other[:4], False, True)
    yield (
        "pairwise_distance_backward",
        (distances, x, other[:4], distances, True, True, False),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_torch_s_own_checks_of_operators_pass(dtype):
    # Half precision is widened before the operators that give gradients with the loss.
    is_half = dtype.itemsize < 4
    pass_opcheck(each for each in samples(dtype) if not is_half or "distance" in each[0])


@pytest.mark.parametrize("target", ["plain", "avx2", "avx512"])
def test_every_target_that_this_processor_has_is_right(target):
    code = (
        "import torch\n"
        "from tests.makers.native import is_close\n"
        "from tests.impls.native.test_pairs import LOSSES, inputs_of, run\n"
        "torch.manual_seed(0)\n"
        "for loss in LOSSES:\n"
        "    leaves, rest = inputs_of(loss, 90, 33)\n"
        "    leaves = [leaf.float() for leaf in leaves]\n"
        "    for dtype, rtol in ((torch.float32, 2e-5), (torch.float64, 1e-12)):\n"
        "        found = run(loss, 'native', leaves, rest, dtype)\n"
        "        exact = run(loss, 'vectorized', leaves, rest, torch.float64)\n"
        "        is_close(found, exact, rtol)\n"
    )
    run_for_target(target, code)
