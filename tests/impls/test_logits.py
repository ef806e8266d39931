"""Logits for inference: of every classification head, in every variant, without labels."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from lossbench import impls
from tests.conftest import name_of

BATCH, DIM, CLASSES = 12, 8, 5
HEADS = [loss for loss in impls.losses() if hasattr(loss.reference, "logits")]
# Compiled variants too: what gives the logits is not compiled, and costs a test nothing.
CLASSIFIERS = [
    implementation
    for loss in HEADS
    for implementation in impls.implementations(loss.name)
    if implementation.unsupported("cpu", torch.float32) is None
]
EVERY = pytest.mark.parametrize("implementation", CLASSIFIERS, ids=name_of)

BY_HAND = {
    "softmax": lambda x, w: x @ w,
    "modified_softmax": lambda x, w: x @ F.normalize(w, dim=0),
    "normface": lambda x, w: 16 * F.normalize(x) @ F.normalize(w, dim=0),
    "sphereface": lambda x, w: x @ F.normalize(w, dim=0),
    "arcface": lambda x, w: 32 * F.normalize(x) @ F.normalize(w, dim=0),
    "arcface_guarded": lambda x, w: 32 * F.normalize(x) @ F.normalize(w, dim=0),
    "softmax_center": lambda x, w: x @ w,
    "softmax_center_unsquared": lambda x, w: x @ w,
}


def head(implementation, dtype=torch.float32, **arguments):
    torch.manual_seed(0)
    module = implementation.build(num_classes=CLASSES, embedding_dim=DIM, **arguments)
    with torch.no_grad():
        # Lengths other than those that a head starts with, one of which a max-norm leaves short.
        module.weight *= torch.tensor([3, 0.5, 1, 2, 1e-6])
    return module.to(dtype)


def embeddings(dtype=torch.float32):
    return torch.randn(BATCH, DIM, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("loss", BY_HAND)
def test_the_references_are_what_the_paper_takes_the_softmax_of(loss):
    module = head(impls.implementation(loss, "reference"), torch.float64)
    with torch.no_grad():
        # Away from the max-norm's short columns, which reference and contenders alike stretch.
        module.weight[:, 4] = 1
    x = embeddings(torch.float64)
    expected = BY_HAND[loss](x, module.weight)
    torch.testing.assert_close(module.logits(x), expected, rtol=1e-6, atol=1e-6)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_variant_gives_the_same(implementation, dtype):
    reference = head(impls.implementation(implementation.loss.name, "reference"), torch.float64)
    module = head(implementation, dtype)
    reference.load_state_dict({k: v.double() for k, v in module.state_dict().items()})
    x = embeddings(dtype)
    given = module.logits(x)
    assert given.dtype == dtype
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.05}[dtype]
    largest = reference.logits(x.double()).abs().max()
    assert (given - reference.logits(x.double())).abs().max() <= tolerance * largest


@EVERY
def test_moves_no_state_and_has_a_gradient(implementation):
    module = head(implementation)
    before = copy.deepcopy(module.state_dict())
    x = embeddings().requires_grad_()
    module.logits(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert module.weight.grad.abs().sum() > 0
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)
    with torch.inference_mode():
        assert module.logits(x).shape == (BATCH, CLASSES)


@EVERY
def test_copies_have_logits_of_their_own(implementation):
    module = head(implementation)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        with torch.no_grad():
            twin.weight *= -1
        torch.testing.assert_close(twin.logits(embeddings()), -module.logits(embeddings()))


@pytest.mark.parametrize("loss", ["softmax", "modified_softmax", "normface"])
def test_a_loss_without_a_margin_is_the_cross_entropy_of_its_logits(loss):
    module = head(impls.implementation(loss, "reference"))
    labels = torch.arange(BATCH) % CLASSES
    expected = F.cross_entropy(module.logits(embeddings()), labels)
    torch.testing.assert_close(module(embeddings(), labels).loss, expected)


def test_a_model_that_predicts_compiles_as_one_graph():
    module = head(impls.implementation("arcface", "fused"))

    def predict(x):
        return module.logits(x).argmax(1)

    torch.compiler.reset()
    compiled = torch.compile(predict, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(embeddings()), predict(embeddings()))
