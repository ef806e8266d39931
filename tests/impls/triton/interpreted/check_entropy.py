"""The cross-entropies over a linear layer, in the interpreter."""

import pytest
import torch

from lossbench.impls.triton.kernels import entropy
from tests.impls.triton.oracle import AWKWARD, agree, step

COSINES = ("normface", "sphereface", "arcface", "arcface_guarded")
LOSSES = ("softmax", "modified_softmax", *COSINES)
OPTIONS = {"label_smoothing": 0.1, "ignore_index": 2, "class_weights": [0.5, 2, 1, 0.0, 3]}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", AWKWARD)
def test_every_loss_agrees_at_awkward_sizes(loss, size):
    agree(loss, size)


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 1, 3)])
def test_one_row_one_feature_and_one_class(size):
    agree("softmax", size)


def test_one_class_has_no_loss():
    agree("arcface", (31, 17, 1))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("loss", ["modified_softmax", "sphereface", "arcface"])
def test_half_precision(loss, dtype):
    agree(loss, (33, 17, 40), dtype)


def labelled(batch=31, dim=3, classes=5):
    x, weight = torch.randn(batch, dim), torch.randn(dim, classes)
    return (x, torch.arange(batch) % classes), {"weight": weight}


def compare(loss, inputs, state, upstream=1.0, least=0.0, **arguments):
    """Hold gradients to 2e-6 of their length, or of ``least`` where they cancel."""
    sizes = {"num_classes": state["weight"].size(1), "embedding_dim": inputs[0].size(1)}
    arguments |= sizes
    expected, wanted = step(loss, "reference", inputs, state, torch.float64, upstream, **arguments)
    out, found = step(loss, "triton", inputs, state, torch.float32, upstream, **arguments)
    torch.testing.assert_close(out.loss.double(), expected.loss, rtol=2e-6, atol=2e-6)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).norm() <= 2e-6 * max(other.norm(), least)


@pytest.mark.parametrize("loss", ["softmax", "sphereface", "arcface"])
def test_a_hundred_rows_and_several_blocks_of_classes(loss):
    inputs, state = labelled(batch=100, dim=17, classes=70)
    compare(loss, inputs, state)


@pytest.mark.parametrize("loss", ["softmax", "sphereface", "arcface"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_options_are_those_of_torch(loss, reduction):
    inputs, state = labelled()
    compare(loss, inputs, state, 0.7, **OPTIONS, reduction=reduction)


@pytest.mark.parametrize("margin", range(6))
def test_every_multiple_of_the_angle(margin):
    inputs, state = labelled()
    compare("sphereface", inputs, state, margin=margin, lambda_max=3.0, gamma=2.0)


@pytest.mark.parametrize("loss", ["modified_softmax", *COSINES])
def test_one_feature_has_no_angle_and_so_no_gradient_but_rounding(loss):
    inputs, state = labelled(dim=1)
    compare(loss, inputs, state, least=16.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_large_scale_of_a_loss_and_large_logits_keep_their_digits(loss):
    inputs, state = labelled()
    inputs = (inputs[0] * 30, inputs[1])
    expected, wanted = step(
        loss, "reference", inputs, state, torch.float64, num_classes=5, embedding_dim=3
    )
    out, found = step(
        loss, "triton", inputs, state, upstream=65536.0, num_classes=5, embedding_dim=3
    )
    torch.testing.assert_close(out.loss.double(), expected.loss, rtol=1e-5, atol=1e-5)
    for one, other in zip(found, wanted, strict=True):
        assert (one / 65536 - other).norm() <= 2e-5 * other.norm()


@pytest.mark.parametrize("loss", ["softmax", "arcface"])
def test_a_label_that_is_no_class_is_refused(loss):
    (x, labels), state = labelled()
    for wrong in (-1, 5):
        labels[0] = wrong
        with pytest.raises((IndexError, RuntimeError)):
            step(loss, "triton", (x, labels), state, num_classes=5, embedding_dim=3)


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_a_gradient_that_is_not_wanted_is_not_computed(wanted):
    (x, labels), state = labelled()
    ones = torch.ones(len(x))
    given = (x, state["weight"], labels, None, None, "unit", "unit", "none", [16.0] + [0.0] * 6, 1)
    _, _, terms, scales = entropy.cross_entropy(*given)
    grads = entropy.cross_entropy_backward(
        ones, None, x, state["weight"], labels, None, terms, scales, "unit", *wanted
    )
    assert tuple(grad.numel() > 0 for grad in grads) == wanted
