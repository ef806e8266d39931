"""The operators against the references, over sizes, strides, labels, dtypes and threads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossbench import impls
from tests.makers.native import (
    is_equal_by_threads,
    pass_opcheck,
    quiet,
    run_for_target,
    strided,
)

pytestmark = pytest.mark.usefixtures("loaded")

BATCHES = (1, 2, 15, 16, 17, 63, 64, 65, 300)
SIZES = (1, 2, 3, 15, 16, 17, 63, 64, 65, 257, 600)
LOSSES = [
    loss.name
    for loss in impls.losses()
    if "native" in [each.variant for each in impls.implementations(loss.name)]
    and loss.inputs == "labelled"
    and "num_classes" in loss.arguments
]
PATTERNS = ("random", "first", "last", "distinct")


def labels_of(pattern, batch, classes):
    if pattern == "random":
        return torch.randint(0, classes, (batch,))
    if pattern == "distinct":
        return torch.arange(batch) % classes
    return torch.full((batch,), 0 if pattern == "first" else classes - 1)


def run(loss, variant, x, labels, classes, dtype, factor=1.5):
    """Return the loss and all gradients, in float64."""
    torch.manual_seed(3)
    module = impls.implementation(loss, variant).build(num_classes=classes, embedding_dim=x.size(1))
    module = module.to(dtype)
    leaf = x.to(dtype).detach().requires_grad_()
    out = module(embeddings=leaf, labels=labels).loss
    (factor * out).backward()
    grads = [p.grad for p in module.parameters() if p.requires_grad]
    return [value.detach().double() for value in (out, leaf.grad, *grads, *module.buffers())]


@pytest.mark.parametrize("loss", LOSSES)
@quiet
@given(
    batch=st.sampled_from(BATCHES),
    dim=st.sampled_from([d for d in SIZES if d > 1]),
    classes=st.sampled_from([c for c in SIZES if c > 1]),
    pattern=st.sampled_from(PATTERNS),
    layout=st.sampled_from(["plain", "transposed", "sliced"]),
    seed=st.integers(0, 100),
)
def test_every_size_gives_the_reference_s_values(loss, batch, dim, classes, pattern, layout, seed):
    torch.manual_seed(seed)
    x = torch.randn(batch, dim, dtype=torch.float64)
    labels = labels_of(pattern, batch, classes)
    found = run(loss, "native", strided(x, layout), labels, classes, torch.float64)
    exact = run(loss, "reference", x, labels, classes, torch.float64)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("batch", "classes"), [(64, 10), (300, 700), (900, 10)])
def test_the_number_of_threads_changes_no_bit(loss, batch, classes):
    torch.manual_seed(0)
    x, labels = torch.randn(batch, 96), torch.randint(0, classes, (batch,))
    is_equal_by_threads(lambda: run(loss, "native", x, labels, classes, torch.float32))


@pytest.mark.parametrize("label", [-1, 5, 2**40])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_label_out_of_range_is_refused_without_the_checks_too(loss, label):
    module = impls.implementation(loss, "native").build(
        num_classes=5, embedding_dim=4, validate=False
    )
    with pytest.raises(RuntimeError, match=f"labels must be from 0 to 4, got {label}"):
        module.forward(torch.randn(3, 4), torch.tensor([0, label, 1]))


HEAD = [1.0, 1.0, 1.0, 32.0, 0.0, 0.8, 0.6, -0.9, 0.2, 1.0, 0.0, 0.0]


def samples(dtype):
    """Return every operator's name with arguments for it."""
    torch.manual_seed(0)
    x, weight = torch.randn(5, 7, dtype=dtype), torch.randn(7, 300, dtype=dtype)
    labels, centers = torch.randint(0, 300, (5,)), torch.randn(300, 7, dtype=dtype)
    operators = torch.ops.lossbench_native
    entropy = (HEAD, None, 0.1, 0)
    _, saved = operators.cross_entropy(x, weight, labels, None, None, *entropy, 1)
    one = torch.ones((), dtype=dtype)
    _, sums = operators.centers(x, centers, labels, 0.5, False, 0.1)
    terms = (0.5, False, 0.1)
    yield "cross_entropy", (x, weight, labels, None, None, *entropy, 1)
    yield (
        "cross_entropy_backward",
        (one, x, weight, labels, None, saved, *entropy, 1, True, True),
    )
    yield (
        "cross_entropy_with_gradients",
        (x, weight, labels, None, None, *entropy, True, False),
    )
    yield "centers", (x, centers, labels, *terms)
    yield "centers_backward", (one, x, centers, labels, sums, *terms, False, True)
    yield "centers_with_gradients", (x, centers, labels, *terms, True, True)
    yield (
        "softmax_center_with_gradients",
        (x, weight, centers, labels, 0, 0.5, True, True, True, True),
    )
    yield "all_pairs", (x, centers, labels, True, True, False)
    yield "move_centers", (centers, x, labels, 0.9, 0.1, 0.0, False)
    yield "exp_or_log", (torch.rand(9), True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_torch_s_own_checks_of_operators_pass(dtype):
    pass_opcheck(samples(dtype))


@pytest.mark.parametrize("target", ["plain", "avx2", "avx512"])
def test_every_target_that_this_processor_has_is_right(target):
    code = (
        "import torch\n"
        "from tests.makers.native import is_close\n"
        "from tests.impls.native import test_bfloat16\n"
        "from tests.impls.native.test_operators import LOSSES, run\n"
        "torch.manual_seed(0)\n"
        "x, labels = torch.randn(70, 33), torch.randint(0, 300, (70,))\n"
        "for loss in LOSSES:\n"
        "    for dtype, rtol in ((torch.float32, 2e-5), (torch.float64, 1e-12)):\n"
        "        found = run(loss, 'native', x, labels, 300, dtype)\n"
        "        exact = run(loss, 'reference', x, labels, 300, torch.float64)\n"
        "        is_close(found, exact, rtol)\n"
        "for loss in test_bfloat16.LOSSES:\n"
        "    test_bfloat16.check(loss, x.bfloat16(), labels, 300)\n"
    )
    run_for_target(target, code)
