"""Heads with the options of ``F.cross_entropy``, and what they give."""

import itertools

import pytest
import torch

from lossbench import impls

BATCH, DIM, CLASSES = 12, 8, 5
# So many that the fused variants go by tiles of classes, at few dimensions to be quick.
MANY = 90_000
ENTROPIES = [loss for loss in impls.losses() if loss.takes_options]
TAKING = [
    implementation
    for loss in ENTROPIES
    for implementation in impls.implementations(loss.name)
    if implementation.takes_options and not implementation.mode and implementation.is_for("cpu")
]
REFUSING = [
    implementation
    for loss in impls.losses()
    for implementation in impls.implementations(loss.name)
    if not implementation.takes_options and not implementation.mode
]
CONTENDERS = [i for i in TAKING if i.variant != "reference"]
WEIGHTS = [2.0, 0.0, 0.5, 1.0, 3.0]
VALUES = {
    "ignore_index": (None, -100, 3),
    "label_smoothing": (0, 0.1, 1),
    "class_weights": (None, WEIGHTS),
    "reduction": ("mean", "sum", "none"),
}
COMBINED = [
    dict(zip(VALUES, values, strict=True)) for values in itertools.product(*VALUES.values())
]
EVERY_OPTION = pytest.mark.parametrize(
    "options", COMBINED, ids=lambda options: "-".join(str(v) for v in options.values())
)


def head(implementation, classes=CLASSES, **arguments):
    torch.manual_seed(0)
    return implementation.build(num_classes=classes, embedding_dim=DIM, **arguments).double()


def batch(ignored=None, classes=CLASSES):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64).requires_grad_()
    labels = torch.randint(classes, (BATCH,), generator=generator)
    if ignored is not None:
        labels[[2, 5]] = ignored
    return x, labels


def outcome(module, x, labels):
    """Return the loss, and the gradients of a sum of different factors of its samples'."""
    loss = module(x, labels).loss
    factors = torch.linspace(0.5, 2, loss.numel(), dtype=loss.dtype).view(loss.shape)
    gradients = torch.autograd.grad((loss * factors).sum(), (x, module.weight))
    return loss.detach(), *gradients


def other(implementation):
    return impls.implementation(implementation.loss.name, "reference")
