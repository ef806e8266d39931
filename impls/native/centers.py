"""The losses of samples and their classes' centres, as autograd sees their native operators."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling

from lossbench.impls.catalogue import EntropyOptions
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.native.cross_entropy import REDUCTIONS, NativeHead, native_cross_entropy
from lossbench.impls.native.gradients import NativeFunction, are_few, is_half, scaled


class CenterTerms(NamedTuple):
    """The factors of the terms of a centre loss.

    Attributes:
        factor: the factor of the squared distances' sum.
        rooted: whether the sum's root is taken.
        pair_weight: the weight of the cosines of all pairs of centres.
    """

    factor: float
    rooted: bool = False
    pair_weight: float = 0.0


def native_centers(
    embeddings: Tensor, centers: Tensor, labels: Tensor, terms: CenterTerms, *, moves: bool = False
) -> Tensor:
    """Return a loss of ``embeddings [B, D]`` and ``centers [C, D]``, 0-d.

    Args:
        embeddings: the embeddings, ``[B, D]``.
        centers: the centres, ``[C, D]``.
        labels: the labels, ``[B]``.
        terms: the factors of the loss's terms.
        moves: whether the centres move before the backward pass, so that it must not read them.
    """
    few = are_few(embeddings.numel(), centers.numel())
    function = (
        _CentersWithGradients
        if moves or (few and not is_half(embeddings, centers))
        else _CentersInTwoPasses
    )
    if is_compiling() and not terms.pair_weight:
        # The factor may depend on the batch's size; an operator's argument would be a constant.
        without = terms._replace(factor=1.0)
        return terms.factor * function.apply(embeddings, centers, labels, without)  # type: ignore[no-any-return]
    return function.apply(embeddings, centers, labels, terms)  # type: ignore[no-any-return]


class _CentersWithGradients(NativeFunction):
    """One operator for the loss and its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, centers: Tensor, labels: Tensor, terms: CenterTerms) -> Tensor:
        for_x, for_centers = ctx.needs_input_grad[:2]
        loss: Tensor
        loss, grad_x, grad_centers = torch.ops.lossbench_native.centers_with_gradients.default(
            x, centers, labels, *terms, for_x, for_centers
        )
        # Centres without a gradient may move, so they are not saved.
        ctx.save_for_backward(
            x if for_x else None,
            centers if for_centers else None,
            grad_x if for_x else None,
            grad_centers if for_centers else None,
        )
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        _, _, grad_x, grad_centers = ctx.saved_tensors
        return (*scaled(upstream, grad_x, grad_centers), None, None)


class _CentersInTwoPasses(NativeFunction):
    """An operator for each pass: nothing of the size of a gradient is kept between them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, centers: Tensor, labels: Tensor, terms: CenterTerms) -> Tensor:
        loss: Tensor
        loss, saved = torch.ops.lossbench_native.centers.default(x, centers, labels, *terms)
        ctx.save_for_backward(x, centers, labels, saved)
        ctx.terms = terms
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, centers, labels, saved = ctx.saved_tensors
        for_x, for_centers = ctx.needs_input_grad[:2]
        grad_x, grad_centers = torch.ops.lossbench_native.centers_backward.default(
            upstream, x, centers, labels, saved, *ctx.terms, for_x, for_centers
        )
        return grad_x if for_x else None, grad_centers if for_centers else None, None, None


def native_softmax_center(
    embeddings: Tensor,
    weight: Tensor,
    centers: Tensor,
    labels: Tensor,
    terms: CenterTerms,
    options: EntropyOptions,
    *,
    moves: bool = False,
) -> Tensor:
    """Return the sum of a cross-entropy and a centre loss, 0-d.

    Args:
        embeddings: the embeddings, ``[B, D]``.
        weight: the class weights, ``[D, C]``.
        centers: the centres, ``[C, D]``.
        labels: the labels, ``[B]``.
        terms: the factors of the centre loss.
        options: the options of the cross-entropy; of these losses the reduction alone.
        moves: whether the centres move before the backward pass, so that it must not read them.
    """
    logits = embeddings.size(0) * weight.size(1)
    few = not is_compiling() and are_few(embeddings.numel(), weight.numel(), logits)
    if few and not is_half(embeddings, weight, centers):
        inputs = (embeddings, weight, centers, labels, REDUCTIONS[options.reduction], terms)
        loss: Tensor = _SoftmaxCenterWithGradients.apply(*inputs)
        return loss
    entropy = native_cross_entropy(embeddings, weight, labels, PLAIN_HEAD, options)
    return entropy + native_centers(embeddings, centers, labels, terms, moves=moves)


PLAIN_HEAD = NativeHead().numbers()


class _SoftmaxCenterWithGradients(NativeFunction):
    """One operator for the sum and its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        centers: Tensor,
        labels: Tensor,
        reduction: int,
        terms: CenterTerms,
    ) -> Tensor:
        wanted = ctx.needs_input_grad[:3]
        loss: Tensor
        loss, *grads = torch.ops.lossbench_native.softmax_center_with_gradients.default(
            x, weight, centers, labels, reduction, terms.factor, terms.rooted, *wanted
        )
        # Centres without a gradient may move, so they are not saved.
        inputs = (x, weight, centers)
        ctx.save_for_backward(
            *(tensor if needed else None for tensor, needed in zip(inputs, wanted, strict=True)),
            *(grad if needed else None for grad, needed in zip(grads, wanted, strict=True)),
        )
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (*scaled(upstream, *ctx.saved_tensors[3:]), None, None, None)
