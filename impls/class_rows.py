"""One row of a table per sample: the centre of its class, with a gradient that is summed wide."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.differentiable import returns_new_tensor
from lossbench.impls.precision import widened


def class_rows(table: Tensor, labels: Tensor, *, sparse: bool = False) -> Tensor:
    """Return the row of each sample's class, ``[B, D]``.

    On the CPU, the gradient of an embedding in half precision is rounded at each sample: that of
    bfloat16 is off by a quarter after two thousand samples of a class. Here it is summed in float32
    and rounded once.

    Args:
        table: one row per class, ``[C, D]``.
        labels: the labels of the samples, ``[B]``.
        sparse: whether the gradient to the table is sparse.
    """
    rows = F.embedding(labels, table, sparse=sparse)
    if rows.dtype is widened(rows.dtype):
        return rows
    return _SummedByClass.apply(rows, labels, len(table))  # type: ignore[no-any-return,no-untyped-call]


def places_of_classes(labels: Tensor, num_classes: int) -> Tensor:
    """Return for each sample the place in the batch of one sample of its class, ``[B]``.

    The place stands for the class where sums per class are formed: they are ``[B, D]`` instead of
    ``[C, D]``, and no size depends on the labels.
    """
    order = torch.arange(labels.size(0), device=labels.device)
    # Of several samples of a class any one may win; all of them then read the same place.
    return labels.new_zeros(num_classes).scatter_(0, labels, order).index_select(0, labels)


def sums_by_class(rows: Tensor, places: Tensor) -> Tensor:
    """Return the sum of each class at its place and zeros elsewhere, ``[B, D]`` in a wide dtype.

    Args:
        rows: one row per sample, ``[B, D]``.
        places: the places of the classes, ``[B]``.
    """
    wide = rows.to(widened(rows.dtype))
    return torch.zeros_like(wide).index_add(0, places, wide)


class _SummedByClass(torch.autograd.Function):
    """The identity; the gradient of a class's samples is their sum at one of them, and 0 at others.

    An embedding adds these rows to its own gradient without a further rounding.
    """

    generate_vmap_rule = True

    @staticmethod
    @returns_new_tensor
    def forward(rows: Tensor, _labels: Tensor, _num_classes: int) -> Tensor:
        return rows.view_as(rows)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        _, labels, ctx.num_classes = inputs
        ctx.save_for_backward(labels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (labels,) = ctx.saved_tensors
        places = places_of_classes(labels, ctx.num_classes)
        return sums_by_class(grad, places).to(grad.dtype), None, None
