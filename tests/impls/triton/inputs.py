"""Inputs of a loss, from one batch."""

from lossbench import impls


def inputs_of(loss, x, labels):
    """Return the inputs of a loss or a distance; one that takes two batches gets a copy too."""
    other = x.detach().clone().requires_grad_()
    by_kind = {"labelled": (x, labels), "pairs": (x, other, labels)}
    return by_kind.get(impls.loss(loss).inputs, (x, other))
