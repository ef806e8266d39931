"""SphereFace and ArcFace by Triton kernels: the margin at the target cosines only."""

from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.registry import register
from lossbench.impls.state import ArcFaceWeights, SphereFaceWeights
from lossbench.impls.triton.entropy import (
    TRITON_ENTROPY,
    EntropyOnTriton,
    ScoreRule,
    triton_cross_entropy,
)
from lossbench.impls.triton.loaded import OnTriton


@register("sphereface", "triton", **TRITON_ENTROPY)
class SphereFace(OnTriton, SphereFaceWeights):
    """Replace the target's cosine by its blend with ψ, times the embedding's length."""

    operators = ("entropy",)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, having advanced the annealing, and no logits."""
        rule = ScoreRule(
            columns="unit",
            rows="own",
            margin="multiple",
            multiple=self.margin,
            lambda_min=self.lambda_min,
            lambda_max=self.lambda_max,
        )
        loss = triton_cross_entropy(
            embeddings,
            self.weight,
            labels,
            rule,
            self.options,
            calls=self._count(),
            gamma=self.gamma,
        )
        return LossAndLogits(loss, None)


class _AdditiveOnTriton(EntropyOnTriton, ArcFaceWeights):
    kind: str

    def __init__(self, num_classes: int, embedding_dim: int, scale: float, margin: float) -> None:
        super().__init__(num_classes, embedding_dim, scale, margin)
        self.rule = ScoreRule(
            columns="unit",
            rows="unit",
            margin=self.kind,
            scale=scale,
            cos_m=self.cos_m,
            sin_m=self.sin_m,
            lowest_cosine=self.lowest_cosine,
            drop=self.drop,
        )


@register("arcface", "triton", refuses_labels=True, **TRITON_ENTROPY)
class ArcFace(_AdditiveOnTriton):
    """Replace the target's cosine by ``cos(θ + m)``."""

    kind = "additive"


@register("arcface_guarded", "triton", refuses_labels=True, **TRITON_ENTROPY)
class ArcFaceGuarded(_AdditiveOnTriton):
    """Beyond ``θ = π - m`` the target's cosine is lowered by a constant."""

    kind = "guarded"
