"""The cross-entropy over a linear layer, of every classification loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import EntropyOptions, LossAndLogits
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.labels import refuse_strays
from lossbench.impls.state import ClassWeights
from lossbench.impls.triton.loaded import TRITON, OnTriton


@dataclass(frozen=True)
class ScoreRule:
    """How a loss turns products into logits.

    Attributes:
        columns: ``free`` for columns as they are, ``unit`` for length 1, ``max_norm`` for length 1
            by a max-norm.
        rows: ``free`` for rows as they are, ``unit`` for the length ``scale``, ``own`` for their
            own length.
        margin: ``none``, ``additive``, ``guarded`` or ``multiple``.
        scale: the length of the rows.
        cos_m: the cosine of an additive margin.
        sin_m: the sine of an additive margin.
        lowest_cosine: the cosine below which the guard holds.
        drop: the amount that the guard subtracts from such a cosine.
        lambda_min: the smallest λ of a multiplicative margin.
        lambda_max: the λ that its annealing starts from.
        multiple: the multiplicative margin.
    """

    columns: str = "free"
    rows: str = "free"
    margin: str = "none"
    scale: float = 1
    cos_m: float = 1
    sin_m: float = 0
    lowest_cosine: float = -1
    drop: float = 0
    lambda_min: float = 0
    lambda_max: float = 0
    multiple: int = 1

    def arguments(self) -> tuple[str, str, str, list[float], int]:
        """Return what the operator takes."""
        # Named one by one, since torch 2.11 cannot compile vars().
        numbers = (
            self.scale,
            self.cos_m,
            self.sin_m,
            self.lowest_cosine,
            self.drop,
            self.lambda_min,
            self.lambda_max,
        )
        return self.columns, self.rows, self.margin, [float(n) for n in numbers], self.multiple


TRITON_ENTROPY: Mapping[str, Any] = {**TRITON, "leaves_out": ("logits",), "takes_options": True}
"""What the cross-entropy losses register with."""


class EntropyOnTriton(OnTriton, ClassWeights):
    """A base class of losses that are a cross-entropy under a rule.

    Attributes:
        rule: the rule that makes the logits.
    """

    operators = ("entropy",)
    rule = ScoreRule()

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and no logits."""
        loss = triton_cross_entropy(embeddings, self.weight, labels, self.rule, self.options)
        return LossAndLogits(loss, None)


def triton_cross_entropy(
    embeddings: Tensor,
    weight: Tensor,
    labels: Tensor,
    rule: ScoreRule,
    options: EntropyOptions,
    *,
    calls: Tensor | None = None,
    gamma: float = 0,
) -> Tensor:
    """Return the loss of ``embeddings [B, D]`` against the classes of ``weight [D, C]``, reduced.

    The kernels give ``-log p`` of each target and, for label smoothing, the weighted sum over all
    classes. What the options make of these is left to torch and its autograd, on ``[B]`` numbers.

    Args:
        embeddings: the embeddings, ``[B, D]``.
        weight: the class weights, ``[D, C]``.
        labels: the labels, ``[B]``.
        rule: the rule that makes the logits.
        options: the options of the cross-entropy.
        calls: the number of calls, 0-d int64, that anneals a multiplicative margin.
        gamma: the power of the focal factor ``(1 - p)^γ``, which has no gradient.
    """
    labels = labels.long()
    targets = options.targets(labels).contiguous()
    refuse_strays(targets, weight)
    in_spread = _weights_in_spread(options, weight)
    inputs = (embeddings.contiguous(), weight.contiguous(), targets, in_spread, calls, rule)
    surprise: Tensor
    surprise, spread = _EntropyInTiles.apply(*inputs)  # type: ignore[no-untyped-call]
    losses = options.weigh(surprise, labels)
    if in_spread is not None:
        share, kept = options.label_smoothing, options.kept(labels)
        spread = spread if kept is None else spread.masked_fill(~kept, 0)
        losses = losses * (1 - share) + spread * (share / weight.size(1))
    if gamma:
        losses = losses * (-torch.expm1(-surprise.detach())) ** gamma
    return options.reduce(losses, labels)


def _weights_in_spread(options: EntropyOptions, weight: Tensor) -> Tensor | None:
    """Return the weight of each class in a spread, ``[C]``; ``None`` without label smoothing."""
    if not options.label_smoothing:
        return None
    if options.class_weights is None:
        return weight.new_ones(weight.size(1), dtype=torch.float32)
    return options.class_weights.float()


class _EntropyInTiles(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        targets: Tensor,
        class_weights: Tensor | None,
        calls: Tensor | None,
        rule: ScoreRule,
    ) -> tuple[Tensor, Tensor]:
        losses, spreads, terms, scales = torch.ops.lossbench_triton.cross_entropy.default(
            x, weight, targets, class_weights, calls, *rule.arguments()
        )
        ctx.save_for_backward(x, weight, targets, class_weights, terms, scales)
        ctx.rows = rule.rows
        if class_weights is None:
            ctx.mark_non_differentiable(spreads)
        return losses, spreads

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor, spread: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, targets, class_weights, terms, scales = ctx.saved_tensors
        for_x, for_weight = ctx.needs_input_grad[:2]
        grad_x, grad_weight = torch.ops.lossbench_triton.cross_entropy_backward.default(
            upstream.contiguous(),
            None if class_weights is None or spread is None else spread.contiguous(),
            x,
            weight,
            targets,
            class_weights,
            terms,
            scales,
            ctx.rows,
            for_x,
            for_weight,
        )
        return (
            grad_x if for_x else None,
            grad_weight if for_weight else None,
            *(None, None, None, None),
        )
