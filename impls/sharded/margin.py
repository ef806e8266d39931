"""SphereFace and ArcFace with their class weights in shards.

The process that has a sample's class computes the margin of the sample's target.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.formulas import LEAST_SQUARED_SINE, PRINTED_PI, cosine_of_multiple
from lossbench.impls.sharded.cross_entropy import (
    ShardedHead,
    ShardRule,
    row_products,
    unit_rows,
)
from lossbench.impls.sharded.limits import SHARDED_HEAD
from lossbench.impls.sharded.variants import register_sharded
from lossbench.impls.state import ArcFaceWeights, SphereFaceWeights

LEAST_LENGTH = 1e-12


@register_sharded("sphereface", **SHARDED_HEAD)
class SphereFace(ShardedHead, SphereFaceWeights):
    """The target's cosine is replaced by its blend with ψ, times the embedding's length."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, having advanced the annealing."""
        blend = (1 + self._anneal()).reciprocal()

        def target(rows: Tensor, columns: Tensor) -> Tensor:
            length: Tensor = torch.linalg.vector_norm(rows, dim=1)
            products = row_products(rows, F.normalize(columns))
            cosine = (products / length.clamp(min=LEAST_LENGTH)).clamp(-1, 1)
            return length * (cosine + (self._psi(cosine) - cosine) * blend)

        rule = ShardRule("unit", target, self.gamma)
        return self._cross_entropy(embeddings, labels, rule)

    def _psi(self, cosine: Tensor) -> Tensor:
        """Return ``ψ(θ)`` of the target cosines ``[N]``."""
        k = (self.margin * cosine.detach().acos() / PRINTED_PI).floor()
        sign = 1 - 2 * k.remainder(2)
        return sign * cosine_of_multiple(cosine, self.margin) - 2 * k


@register_sharded("arcface", **SHARDED_HEAD)
class ArcFace(ShardedHead, ArcFaceWeights):
    """The target's cosine is replaced by ``cos(θ + m)``."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, and no logits."""

        def target(rows: Tensor, columns: Tensor) -> Tensor:
            cosine = row_products(rows, F.normalize(columns)) / (self.scale or 1)
            return self.scale * self._with_margin(cosine.clamp(-1, 1))

        rule = ShardRule("unit", target)
        return self._cross_entropy(unit_rows(embeddings, self.scale), labels, rule)

    def _with_margin(self, cosine: Tensor) -> Tensor:
        """Return ``cos(θ + m)`` of the target cosines ``[N]``."""
        sine = (1 - cosine.square()).clamp(min=LEAST_SQUARED_SINE).sqrt()
        return cosine * self.cos_m - sine * self.sin_m


@register_sharded("arcface_guarded", **SHARDED_HEAD)
class ArcFaceGuarded(ArcFace):
    """Beyond ``θ = π - m`` the target's cosine is lowered by a constant."""

    def _with_margin(self, cosine: Tensor) -> Tensor:
        """Return ``cos(θ + m)``, or its continuation, of the target cosines ``[N]``."""
        within = cosine > self.lowest_cosine
        return torch.where(within, super()._with_margin(cosine), cosine - self.drop)
