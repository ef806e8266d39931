"""The losses of samples and their classes' centres, as autograd sees their operators."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.labels import refuse_strays
from lossbench.impls.moving import ShiftingCenters


class CenterTerm(NamedTuple):
    """A multiple of the sum of all squared distances to the centres.

    Attributes:
        factor: the factor of the sum.
        share: the divisor of the sum: ``whole`` for 1, ``row`` for the number of samples,
            ``element`` for that of their elements.
        rooted: whether the root of the sum is taken.
    """

    factor: float
    share: str = "whole"
    rooted: bool = False


class SummedByKernel(ShiftingCenters):
    """Moving class centres: their samples are added by a kernel, in a fixed order."""

    def _sums_of_classes(self, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        operator = torch.ops.lossbench_triton.class_sums.default
        sums: tuple[Tensor, Tensor, Tensor] = operator(rows.contiguous(), labels.contiguous())
        return sums


def triton_centers(
    embeddings: Tensor, centers: Tensor, labels: Tensor, term: CenterTerm, *, sparse: bool = False
) -> Tensor:
    """Return a loss of ``embeddings [B, D]`` and ``centers [C, D]``, 0-d.

    Args:
        embeddings: the embeddings, ``[B, D]``.
        centers: the centres, ``[C, D]``.
        labels: the labels, ``[B]``.
        term: the multiple of the squared distances that the loss is.
        sparse: whether the gradient of the centres is sparse.
    """
    inputs = kernel_inputs(embeddings, centers, labels)
    loss: Tensor = _Centers.apply(*inputs, term, sparse)  # type: ignore[no-untyped-call]
    return loss


def triton_centers_that_move(
    embeddings: Tensor, centers: Tensor, labels: Tensor, term: CenterTerm
) -> tuple[Tensor, Tensor]:
    """Return a loss, 0-d, and the differences from the centres ``[B, D]``, in float32.

    The backward pass reads the differences and not the centres, which may have moved before it.

    Args:
        embeddings: the embeddings, ``[B, D]``.
        centers: the centres, ``[C, D]``, which have no gradient.
        labels: the labels, ``[B]``.
        term: the multiple of the squared distances that the loss is.
    """
    inputs = kernel_inputs(embeddings, centers.detach(), labels)
    loss, differences = _MovedCenters.apply(*inputs, term)  # type: ignore[no-untyped-call]
    return loss, differences


def kernel_inputs(
    embeddings: Tensor, centers: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the tensors as the kernels take them, having refused labels that are no class."""
    labels = labels.long().contiguous()
    refuse_strays(labels, centers.detach().t())
    return embeddings.contiguous(), centers.contiguous(), labels


class _Centers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, centers: Tensor, labels: Tensor, term: CenterTerm, sparse: bool
    ) -> Tensor:
        operator = torch.ops.lossbench_triton.differences.default
        loss: Tensor
        loss, pull, _ = operator(x, centers, labels, *term, keep=False)
        ctx.save_for_backward(pull, x, centers, labels)
        ctx.sparse = sparse
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        centers = ctx.saved_tensors[2]
        for_x, for_centers = ctx.needs_input_grad[:2]
        grad_x, grad_centers, classes = torch.ops.lossbench_triton.centers_backward.default(
            upstream.contiguous(), *ctx.saved_tensors, for_x, for_centers, ctx.sparse
        )
        if ctx.sparse and for_centers:
            grad_centers = torch.sparse_coo_tensor(
                classes.unsqueeze(0), grad_centers, centers.shape, check_invariants=False
            )
        grads = grad_x if for_x else None, grad_centers if for_centers else None
        return (*grads, None, None, None)


class _MovedCenters(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, centers: Tensor, labels: Tensor, term: CenterTerm
    ) -> tuple[Tensor, Tensor]:
        operator = torch.ops.lossbench_triton.differences.default
        loss, pull, differences = operator(x, centers, labels, *term, keep=True)
        # The input is saved so that a second derivative by it raises an error.
        ctx.save_for_backward(pull, differences, x)
        ctx.mark_non_differentiable(differences)
        return loss, differences

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor, _: None) -> tuple[Tensor | None, ...]:
        pull, differences, x = ctx.saved_tensors
        gradient = (differences * (pull * upstream)).to(x.dtype)
        return gradient, None, None, None
