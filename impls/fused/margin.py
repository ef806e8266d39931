"""SphereFace and ArcFace: the margin and its derivative at the ``B`` target cosines, no others."""

from functools import partial

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.fused.cross_entropy.head import Head, Margin, unit_columns
from lossbench.impls.fused.cross_entropy.logsumexp import fused_cross_entropy
from lossbench.impls.registry import register
from lossbench.impls.state import ArcFaceWeights, SphereFaceWeights


@register("sphereface", "fused", compiles=True)
class SphereFace(SphereFaceWeights):
    """The target's cosine gives way to its blend with ψ, times the embedding's length."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, having advanced the annealing, and no logits."""
        blend = partial(self._blend, lam=self._anneal())
        head = Head(columns=unit_columns, margin=blend, gamma=self.gamma)
        loss = fused_cross_entropy(embeddings, self.weight, labels, head)
        return LossAndLogits(loss, None)

    def _blend(self, cosine: Tensor, lam: Tensor) -> Margin:
        """Return ``(λ cos θ + ψ(θ)) / (1 + λ)`` of the target cosines ``[B, 1]``."""
        blend = (1 + lam).reciprocal()
        # The document's π, so that both step to the next k at the same angle.
        k = (self.margin * cosine.acos() / 3.1415926).floor()
        sign = 1 - 2 * k.remainder(2)
        multiple, derivative = cosine_of_multiple(cosine, self.margin)
        value = cosine + (sign * multiple - 2 * k - cosine) * blend
        return Margin(value, 1 + (sign * derivative - 1) * blend)


def cosine_of_multiple(cosine: Tensor, multiple: int) -> tuple[Tensor, Tensor]:
    """Return ``cos(mθ)`` of ``cos θ`` and its derivative, by the Chebyshev recurrences."""
    value, slope = torch.ones_like(cosine), torch.zeros_like(cosine)
    following, steeper = cosine, torch.ones_like(cosine)
    for _ in range(multiple):
        beyond = 2 * cosine * following - value
        steepest = 2 * following + 2 * cosine * steeper - slope
        value, slope, following, steeper = following, steeper, beyond, steepest
    return value, slope


@register("arcface", "fused", compiles=True)
class ArcFace(ArcFaceWeights):
    """The target's cosine gives way to ``cos(θ + m)``."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and no logits."""
        head = Head(columns=unit_columns, scale=self.scale, margin=self._add_margin)
        loss = fused_cross_entropy(embeddings, self.weight, labels, head)
        return LossAndLogits(loss, None)

    def _add_margin(self, cosine: Tensor) -> Margin:
        """Return ``cos(θ + m)`` of the target cosines ``[B, 1]``."""
        square = 1 - cosine.square()
        sine = square.clamp(min=1e-7).sqrt_()
        # Where the sine is held it has no slope.
        slope = (cosine / sine).masked_fill_(square < 1e-7, 0).mul_(self.sin_m).add_(self.cos_m)
        return Margin(cosine * self.cos_m - sine * self.sin_m, slope)


@register("arcface_guarded", "fused", compiles=True)
class ArcFaceGuarded(ArcFace):
    """Beyond ``θ = π - m`` the target's cosine is lowered by a constant."""

    def _add_margin(self, cosine: Tensor) -> Margin:
        """Return ``cos(θ + m)``, or its continuation, of the target cosines ``[B, 1]``."""
        value, slope = super()._add_margin(cosine)
        within = cosine > self.lowest_cosine
        return Margin(
            torch.where(within, value, cosine - self.drop), torch.where(within, slope, 1.0)
        )
