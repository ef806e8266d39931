"""The terms of each sample in a tiled cross-entropy: the sum over classes, and the target."""

from typing import NamedTuple

import torch
from torch import Tensor

from lossbench.impls.formulas import LN_2, soft_margin
from lossbench.impls.fused.cross_entropy.head import Head, Target


class Sum(NamedTuple):
    """A sum of powers of two, ``amount · 2^highest``, ``[B, 1]`` each.

    Its logarithm is never rounded to the size of ``highest``.
    """

    highest: Tensor
    amount: Tensor

    @classmethod
    def over(cls, scores: Tensor, *, bounded: bool) -> "Sum":
        """Return the sum of the powers of ``scores [B, T]``, which they overwrite.

        Args:
            scores: the exponents of two.
            bounded: whether to sum the powers without subtracting the highest score first.
        """
        if bounded:
            highest = scores.new_zeros(len(scores), 1)
        else:
            highest = scores.amax(1, keepdim=True)
            scores.sub_(highest)
        return cls(highest, scores.exp2_().sum(1, keepdim=True))

    @classmethod
    def of(cls, parts: "list[Sum]") -> "Sum":
        """Return the sum of the parts."""
        if len(parts) == 1:
            return parts[0]
        highest, amount = (torch.cat(column, 1) for column in zip(*parts, strict=True))
        top = highest.amax(1, keepdim=True)
        return cls(top, highest.sub_(top).exp2_().mul_(amount).sum(1, keepdim=True))


class SampleTerms(NamedTuple):
    """The terms of each sample that the backward pass needs, ``[B, 1]`` each.

    Attributes:
        top: the highest score.
        amount: the sum over the classes of ``2^(score - top)``.
        pull: the loss's derivative by the product with the target's column.
        stretch: the loss's derivative by the embedding's length; ``None`` without a margin on it.
        focus: the focal factor; ``None`` without one.
    """

    top: Tensor
    amount: Tensor
    pull: Tensor
    stretch: Tensor | None
    focus: Tensor | None

    @classmethod
    def of(
        cls, others: Sum, score: Tensor, target: Target | None, head: Head
    ) -> tuple[Tensor, "SampleTerms"]:
        """Return each sample's loss, ``[B, 1]``, and the terms for its gradient.

        Args:
            others: the sum over all classes but the target.
            score: the target's score before the margin, ``[B, 1]``.
            target: the target's logit under the margin; ``None`` without a margin.
            head: the rule that made the logits.
        """
        if target is not None:
            score = target.logit / LN_2
        # float64 keeps the digits of the difference of two large numbers.
        gap = (others.highest - score) + others.amount.double().log2()
        gap = gap.mul_(LN_2).to(score.dtype)
        losses = soft_margin(gap)
        miss = gap.sigmoid_()
        focus = None if head.gamma == 0 else miss.pow(head.gamma)
        pull = -miss if target is None else miss * -target.slope
        stretch = None if target is None or target.stretch is None else miss * -target.stretch
        total = Sum.of([others, Sum.over(score.clone(), bounded=head.bounded)])
        samples = cls(*total, pull, stretch, focus)
        return losses if focus is None else losses * focus, samples
