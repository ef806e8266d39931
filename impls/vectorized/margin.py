"""SphereFace and ArcFace, with the margin applied to the ``B`` target cosines only."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.formulas import LEAST_SQUARED_SINE, PRINTED_PI, cosine_of_multiple
from lossbench.impls.registry import register
from lossbench.impls.state import ArcFaceWeights, SphereFaceWeights


@register("sphereface", "vectorized", compiles=True, takes_options=True)
class SphereFace(SphereFaceWeights):
    """Replace the target's logit by its blend with ψ; the annealing stays on the device."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``, having advanced the annealing."""
        lam = self._anneal()
        labels = labels.long()
        target = self.options.targets(labels).unsqueeze(1)
        cosine = (F.normalize(embeddings) @ F.normalize(self.weight, dim=0)).clamp(-1, 1)
        length = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
        own = cosine.gather(1, target)
        target_logit = length * self.options.where_kept(labels, self._blend(own, lam), own)
        logits = (cosine * length).scatter(1, target, target_logit)
        return LossAndLogits(self.options.cross_entropy(logits, labels, self.gamma), logits)

    def _blend(self, cosine: Tensor, lam: Tensor) -> Tensor:
        """Return ``(λ cos θ + ψ(θ)) / (1 + λ)`` of the target cosines ``[B, 1]``."""
        k = (self.margin * cosine.detach().acos() / PRINTED_PI).floor()
        sign = 1 - 2 * k.remainder(2)
        psi = sign * cosine_of_multiple(cosine, self.margin) - 2 * k
        return cosine + (psi - cosine) / (1 + lam)


@register("arcface", "vectorized", compiles=True, takes_options=True, refuses_labels=True)
class ArcFace(ArcFaceWeights):
    """Replace the target's cosine by ``cos(θ + m)``."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]``."""
        labels = labels.long()
        target = self.options.targets(labels).unsqueeze(1)
        cosine = (F.normalize(embeddings) @ F.normalize(self.weight, dim=0)).clamp(-1, 1)
        own = cosine.gather(1, target)
        phi = self.options.where_kept(labels, self._add_margin(own), own)
        logits = self.scale * cosine.scatter(1, target, phi)
        return LossAndLogits(self.options.cross_entropy(logits, labels), logits)

    def _add_margin(self, cosine: Tensor) -> Tensor:
        """Return ``cos(θ + m)`` of the target cosines ``[B, 1]``."""
        # The root's gradient at cos θ = ±1 would be infinite, so the squared sine is clamped.
        sine = (1 - cosine.square()).clamp(min=LEAST_SQUARED_SINE).sqrt()
        return cosine * self.cos_m - sine * self.sin_m


@register("arcface_guarded", "vectorized", compiles=True, takes_options=True, refuses_labels=True)
class ArcFaceGuarded(ArcFace):
    """Choose between the two branches for the target cosines only."""

    def _add_margin(self, cosine: Tensor) -> Tensor:
        """Return ``cos(θ + m)``, or its continuation, of the target cosines ``[B, 1]``."""
        within = cosine > self.lowest_cosine
        return torch.where(within, super()._add_margin(cosine), cosine - self.drop)
