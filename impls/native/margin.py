"""SphereFace and ArcFace by native operators: the margin at the target cosines only."""

from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.native.cross_entropy import (
    NATIVE_ENTROPY,
    EntropyHead,
    NativeHead,
    native_cross_entropy,
)
from lossbench.impls.native.operators import Native
from lossbench.impls.registry import register
from lossbench.impls.state import ArcFaceWeights, SphereFaceWeights


@register("sphereface", "native", **NATIVE_ENTROPY)
class SphereFace(Native, SphereFaceWeights):
    """Replace the target's cosine by its blend with ψ, times the embedding's length."""

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        margin: int,
        lambda_min: float,
        lambda_max: float,
        gamma: float,
    ) -> None:
        super().__init__(num_classes, embedding_dim, margin, lambda_min, lambda_max, gamma)
        self.head = NativeHead(
            columns=1,
            rows=2,
            margin=3,
            gamma=gamma,
            multiple=margin,
            lambda_min=lambda_min,
            lambda_max=lambda_max,
        ).numbers()

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, having advanced the annealing, and no logits."""
        loss = native_cross_entropy(
            embeddings, self.weight, labels, self.head, self.options, self._count()
        )
        return LossAndLogits(loss, None)


class _Additive(EntropyHead, ArcFaceWeights):
    guard: int

    def __init__(self, num_classes: int, embedding_dim: int, scale: float, margin: float) -> None:
        super().__init__(num_classes, embedding_dim, scale, margin)
        self.head = NativeHead(
            columns=1,
            rows=1,
            margin=self.guard,
            scale=scale,
            cos_m=self.cos_m,
            sin_m=self.sin_m,
            lowest_cosine=self.lowest_cosine,
            drop=self.drop,
        ).numbers()


@register("arcface", "native", refuses_labels=True, **NATIVE_ENTROPY)
class ArcFace(_Additive):
    """Replace the target's cosine by ``cos(θ + m)``."""

    guard = 1


@register("arcface_guarded", "native", refuses_labels=True, **NATIVE_ENTROPY)
class ArcFaceGuarded(_Additive):
    """Beyond ``θ = π - m`` the target's cosine is lowered by a constant."""

    guard = 2
