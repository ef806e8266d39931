"""The cross-entropy over a linear layer by native operators, of every classification loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import EntropyOptions, LossAndLogits
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.native.gradients import NativeFunction, are_few, is_half, scaled
from lossbench.impls.native.operators import NATIVE, Native
from lossbench.impls.native.shapes import BATCH_MULTIPLE, TILE
from lossbench.impls.state import ClassWeights
from lossbench.impls.tracing import is_exporting

# The number of powers that are saved for the backward pass, 44 MiB in float32.
KEPT_ELEMENTS = 11 * 2**20
REDUCTIONS = {"mean": 0, "sum": 1, "none": 2}


@dataclass(frozen=True)
class NativeHead:
    """How a loss turns products into logits; the numbers are those of csrc/cross_entropy.h.

    Attributes:
        columns: 0 for columns as they are, 1 for length 1, 2 for length 1 by a max-norm.
        rows: 0 for rows as they are, 1 for the length ``scale``, 2 for their own length.
        margin: 0 for none, 1 for an additive one, 2 for it with a guard, 3 for a multiplicative.
        scale: the length of the rows.
        gamma: the power of the focal factor.
        cos_m: the cosine of an additive margin.
        sin_m: the sine of an additive margin.
        lowest_cosine: the cosine below which the guard holds.
        drop: the amount that the guard subtracts from such a cosine.
        multiple: the multiplicative margin.
        lambda_min: the smallest λ of a multiplicative margin.
        lambda_max: the λ that its annealing starts from.
    """

    columns: int = 0
    rows: int = 0
    margin: int = 0
    scale: float = 1
    gamma: float = 0
    cos_m: float = 1
    sin_m: float = 0
    lowest_cosine: float = -1
    drop: float = 0
    multiple: int = 1
    lambda_min: float = 0
    lambda_max: float = 0

    def numbers(self) -> list[float]:
        """Return what the operators take: the numbers without the defaults at the end.

        Each number takes the dispatcher 40 ns.
        """
        given, usual = ([*vars(head).values()] for head in (self, NativeHead()))
        while given and given[-1] == usual[len(given) - 1]:
            given.pop()
        return [float(value) for value in given]


NATIVE_ENTROPY: Mapping[str, Any] = {
    **NATIVE,
    "leaves_out": ("logits",),
    "takes_options": True,
}
"""What the native contenders of the cross-entropy losses register with."""


class EntropyHead(Native, ClassWeights):
    """A base class of losses that are a cross-entropy under a head.

    Attributes:
        head: the numbers of the ``NativeHead``.
    """

    head = NativeHead().numbers()

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and no logits."""
        loss = native_cross_entropy(embeddings, self.weight, labels, self.head, self.options)
        return LossAndLogits(loss, None)


def native_cross_entropy(
    embeddings: Tensor,
    weight: Tensor,
    labels: Tensor,
    head: list[float],
    options: EntropyOptions,
    iteration: Tensor | None = None,
) -> Tensor:
    """Return the loss of ``embeddings [B, D]`` against the classes of ``weight [D, C]``, reduced.

    Args:
        embeddings: the embeddings, ``[B, D]``.
        weight: the class weights, ``[D, C]``.
        labels: the labels, ``[B]``.
        head: the numbers of a ``NativeHead``.
        options: the options of the cross-entropy.
        iteration: the number of calls, 0-d int64, that anneals a multiplicative margin.
    """
    given = (
        options.ignore_index,
        float(options.label_smoothing),
        REDUCTIONS[options.reduction],
    )
    inputs = (embeddings, weight, labels, options.class_weights, iteration, head, given)
    logits = embeddings.size(0) * weight.size(1)
    few = options.reduction != "none" and are_few(logits, weight.numel())
    function = (
        _EntropyWithGradients if few and not is_half(embeddings, weight) else _EntropyInTwoPasses
    )
    loss: Tensor = function.apply(*inputs)
    return loss


class _EntropyWithGradients(NativeFunction):
    """One operator for the loss and its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        labels: Tensor,
        class_weights: Tensor | None,
        iteration: Tensor | None,
        head: list[float],
        options: tuple[int | None, float, int],
    ) -> Tensor:
        for_x, for_weight = ctx.needs_input_grad[:2]
        loss: Tensor
        loss, grad_x, grad_weight = torch.ops.lossbench_native.cross_entropy_with_gradients.default(
            x, weight, labels, class_weights, iteration, head, *options, for_x, for_weight
        )
        ctx.save_for_backward(
            x, weight, grad_x if for_x else None, grad_weight if for_weight else None
        )
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        _, _, grad_x, grad_weight = ctx.saved_tensors
        return (*scaled(upstream, grad_x, grad_weight), None, None, None, None, None)


class _EntropyInTwoPasses(NativeFunction):
    """An operator for each pass; the powers of the first class tiles are kept between them."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        labels: Tensor,
        class_weights: Tensor | None,
        iteration: Tensor | None,
        head: list[float],
        options: tuple[int | None, float, int],
    ) -> Tensor:
        keeps = any(ctx.needs_input_grad) and not is_exporting()
        kept = _kept_tiles(x.size(0), weight.size(1)) if keeps else 0
        loss: Tensor
        loss, saved = torch.ops.lossbench_native.cross_entropy.default(
            x, weight, labels, class_weights, iteration, head, *options, kept
        )
        ctx.save_for_backward(x, weight, labels, class_weights, saved)
        ctx.given = head, options, kept
        return loss

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, labels, class_weights, saved = ctx.saved_tensors
        head, options, kept = ctx.given
        for_x, for_weight = ctx.needs_input_grad[:2]
        grad_x, grad_weight = torch.ops.lossbench_native.cross_entropy_backward.default(
            upstream,
            x,
            weight,
            labels,
            class_weights,
            saved,
            head,
            *options,
            kept,
            for_x,
            for_weight,
        )
        return (
            grad_x if for_x else None,
            grad_weight if for_weight else None,
            *(None, None, None, None, None),
        )


def _kept_tiles(batch: int, classes: int) -> int:
    rows = -(-batch // BATCH_MULTIPLE) * BATCH_MULTIPLE
    tiles = -(-classes // TILE)
    return min(tiles, KEPT_ELEMENTS // (rows * TILE)) if rows * classes > KEPT_ELEMENTS else tiles
