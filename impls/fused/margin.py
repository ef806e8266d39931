"""SphereFace and ArcFace: the margin and its derivative at the ``B`` target cosines only."""

from functools import partial

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.formulas import LEAST_SQUARED_SINE, PRINTED_PI, cosine_of_multiple
from lossbench.impls.fused.cross_entropy.head import Head, Margin, unit_columns
from lossbench.impls.fused.cross_entropy.logsumexp import fused_cross_entropy
from lossbench.impls.registry import register
from lossbench.impls.state import ArcFaceWeights, SphereFaceWeights


@register(
    "sphereface",
    "fused",
    compiles=True,
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    takes_options=True,
)
class SphereFace(SphereFaceWeights):
    """Replace the target's cosine by its blend with ψ, times the embedding's length."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, having advanced the annealing, and no logits."""
        blend = partial(self._blend, lam=self._anneal())
        head = Head(columns=unit_columns, margin=blend, gamma=self.gamma)
        loss = fused_cross_entropy(embeddings, self.weight, labels, head, self.options)
        return LossAndLogits(loss, None)

    def _blend(self, cosine: Tensor, lam: Tensor) -> Margin:
        """Return ``(λ cos θ + ψ(θ)) / (1 + λ)`` of the target cosines ``[B, 1]``."""
        blend = (1 + lam).reciprocal()
        k = (self.margin * cosine.acos() / PRINTED_PI).floor()
        sign = 1 - 2 * k.remainder(2)
        psi = sign * cosine_of_multiple(cosine, self.margin) - 2 * k
        slope = sign * _slope_of_multiple(cosine, self.margin)
        return Margin(cosine + (psi - cosine) * blend, 1 + (slope - 1) * blend)


def _slope_of_multiple(cosine: Tensor, multiple: int) -> Tensor:
    """Return the derivative of ``cos(mθ)`` by ``cos θ``: m times a Chebyshev U, by recurrence."""
    previous, current = torch.zeros_like(cosine), torch.ones_like(cosine)
    for _ in range(multiple):
        previous, current = current, 2 * cosine * current - previous
    return multiple * previous


@register(
    "arcface",
    "fused",
    compiles=True,
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    takes_options=True,
    refuses_labels=True,
)
class ArcFace(ArcFaceWeights):
    """Replace the target's cosine by ``cos(θ + m)``."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and no logits."""
        head = Head(columns=unit_columns, scale=self.scale, margin=self._add_margin)
        loss = fused_cross_entropy(embeddings, self.weight, labels, head, self.options)
        return LossAndLogits(loss, None)

    def _add_margin(self, cosine: Tensor) -> Margin:
        """Return ``cos(θ + m)`` of the target cosines ``[B, 1]``."""
        square = 1 - cosine.square()
        sine = square.clamp(min=LEAST_SQUARED_SINE).sqrt_()
        # A clamped sine has slope 0.
        cotangent = (cosine / sine).masked_fill_(square < LEAST_SQUARED_SINE, 0)
        slope = cotangent.mul_(self.sin_m).add_(self.cos_m)
        return Margin(cosine * self.cos_m - sine * self.sin_m, slope)


@register(
    "arcface_guarded",
    "fused",
    compiles=True,
    limits=DIFFERENTIABLE_ONCE,
    leaves_out=("logits",),
    takes_options=True,
    refuses_labels=True,
)
class ArcFaceGuarded(ArcFace):
    """Beyond ``θ = π - m`` the target's cosine is lowered by a constant."""

    def _add_margin(self, cosine: Tensor) -> Margin:
        """Return ``cos(θ + m)``, or its continuation, of the target cosines ``[B, 1]``."""
        value, slope = super()._add_margin(cosine)
        within = cosine > self.lowest_cosine
        return Margin(
            torch.where(within, value, cosine - self.drop), torch.where(within, slope, 1.0)
        )
