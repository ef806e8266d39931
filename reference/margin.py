"""Losses of document 001 with an angular margin, which makes the target class harder."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.reference.options import EntropyOptions
from lossbench.reference.outputs import LossAndLogits
from lossbench.reference.softmax import unit_columns_

# cos(mθ) as a polynomial of cos θ, indexed by m: the Chebyshev polynomials of the first kind.
COSINE_OF_MULTIPLE = (
    lambda c: c**0,
    lambda c: c**1,
    lambda c: 2 * c**2 - 1,
    lambda c: 4 * c**3 - 3 * c,
    lambda c: 8 * c**4 - 8 * c**2 + 1,
    lambda c: 16 * c**5 - 20 * c**3 + 5 * c,
)
TRUNCATED_PI = 3.1415926


def one_hot(labels: Tensor, like: Tensor, options: EntropyOptions) -> Tensor:
    """Return 1 at each sample's target and 0 elsewhere, ``[B, C]``, as ``like [B, C]`` is.

    A sample that is left out has no target.
    """
    target = options.targets(labels).view(-1, 1)
    found = torch.zeros_like(like).scatter_(1, target, 1)
    kept = options.kept(labels)
    return found if kept is None else found * kept.view(-1, 1)


class SphereFace(nn.Module):
    """A-softmax with an annealed margin (document 001, ``SphereFace``; arXiv 1704.08063, Eq. 7).

    The logits are ``‖x_i‖ cos θ_ij``. The target's is ``‖x_i‖ (λ cos θ + ψ(θ)) / (1 + λ)`` with
    ``ψ(θ) = (-1)^k cos(mθ) - 2k``, ``k = ⌊mθ / π⌋``, ``λ = max(λ_min, λ_max / (1 + 0.2 it))``.
    From these, ``loss = -mean_i (1 - p_i)^γ log p_i``; the focal factor ``(1 - p_i)^γ`` has no
    gradient. ``it`` counts the calls, including this one, both in training and in evaluation.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        margin: margin m, a whole number from 0 to 5.
        lambda_min: smallest λ, at which the annealing ends.
        lambda_max: λ from which the annealing starts.
        gamma: exponent γ of the focal factor; 0 in the document, where the factor is 1.
    """

    iteration: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        margin: int = 4,
        lambda_min: float = 3,
        lambda_max: float = 30000,
        gamma: float = 0,
    ) -> None:
        super().__init__()
        self.options = EntropyOptions()
        self.margin = margin
        self.lambda_min = lambda_min
        self.lambda_max = lambda_max
        self.gamma = gamma
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))
        nn.init.xavier_uniform_(self.weight)
        unit_columns_(self.weight)
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]`` of ``embeddings [B, D]``, ``labels [B]``."""
        labels = labels.long()
        cosine = F.normalize(embeddings).mm(F.normalize(self.weight, dim=0)).clamp(-1, 1)
        theta = cosine.detach().acos()
        k = (self.margin * theta / TRUNCATED_PI).floor()
        phi = (-1) ** k * COSINE_OF_MULTIPLE[self.margin](cosine) - 2 * k

        # At a zero row the document's power of a sum has a NaN gradient; a norm's would be 0.
        length = embeddings.pow(2).sum(1).pow(0.5).view(-1, 1)
        plain, hard = cosine * length, phi * length

        self.iteration += 1
        annealed = self.lambda_max / (1 + 0.2 * self.iteration.item())
        blend = 1 + max(self.lambda_min, annealed)
        is_target = one_hot(labels, cosine, self.options).bool()
        logits = plain * 1.0
        logits[is_target] -= plain[is_target] / blend
        logits[is_target] += hard[is_target] / blend

        return LossAndLogits(self.options.cross_entropy(logits, labels, self.gamma), logits)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return ``‖x_i‖ cos θ_ij`` without a margin, ``[B, C]``; this is no call that counts."""
        cosine = F.normalize(embeddings).mm(F.normalize(self.weight, dim=0))
        length: Tensor = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
        return cosine * length


class ArcFace(nn.Module):
    """Additive angular margin (document 001, ``ArcMarginProduct``; arXiv 1801.07698, Eq. 3).

    The logits are ``s cos θ_ij``. The target's is ``s cos(θ + m)``, computed as
    ``s (cos θ cos m - √max(1 - cos²θ, 1e-7) sin m)``. The loss is their cross-entropy. With a guard
    the target's logit would fall for ``θ > π - m`` too; the document comments its guard out.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        scale: scale s; 32 in the document.
        margin: margin m in radians.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, scale: float = 32, margin: float = 0.5
    ) -> None:
        super().__init__()
        self.options = EntropyOptions()
        self.scale = scale
        self.cos_m = math.cos(margin)
        self.sin_m = math.sin(margin)
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))
        nn.init.xavier_uniform_(self.weight)
        unit_columns_(self.weight)

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss and ``logits [B, C]`` of ``embeddings [B, D]``, ``labels [B]``."""
        labels = labels.long()
        cosine = F.normalize(embeddings).mm(F.normalize(self.weight, dim=0)).clamp(-1, 1)
        phi = self.target_cosine(cosine)
        is_target = one_hot(labels, cosine, self.options)
        logits = self.scale * (is_target * phi + (1.0 - is_target) * cosine)
        return LossAndLogits(self.options.cross_entropy(logits, labels), logits)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return ``s cos θ_ij`` without a margin, ``[B, C]``, of ``embeddings [B, D]``."""
        return self.scale * F.normalize(embeddings).mm(F.normalize(self.weight, dim=0))

    def target_cosine(self, cosine: Tensor) -> Tensor:
        """Return ``cos(θ + m)`` for every ``cos θ``."""
        sine = torch.sqrt(torch.max(1.0 - cosine.pow(2), torch.full_like(cosine, 1e-7)))
        return cosine * self.cos_m - sine * self.sin_m


class ArcFaceGuarded(ArcFace):
    """ArcFace with the guard that 001 comments out: the target's logit falls up to θ = π.

    The target's logit is ``s cos(θ + m)`` if ``cos θ > cos(π - m)``. Otherwise it is
    ``s (cos θ - m sin(π - m))``, which falls further, while ``cos(θ + m)`` would rise again. The
    two branches do not meet: the logit jumps, down for margins up to 2.33 and up for larger ones.

    Args:
        num_classes: number of classes C.
        embedding_dim: embedding dimension D.
        scale: scale s.
        margin: margin m in radians, from 0 to π.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, scale: float = 32, margin: float = 0.5
    ) -> None:
        super().__init__(num_classes, embedding_dim, scale, margin)
        self.lowest_cosine = math.cos(math.pi - margin)
        self.drop = margin * math.sin(math.pi - margin)

    def target_cosine(self, cosine: Tensor) -> Tensor:
        """Return ``cos(θ + m)``, or its continuation, for every ``cos θ``."""
        within = cosine > self.lowest_cosine
        return torch.where(within, super().target_cosine(cosine), cosine - self.drop)
