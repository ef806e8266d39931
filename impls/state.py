"""The parameters and buffers that contenders share, and how a step changes them.

They have the names and shapes of the catalogue, and are left unset: ``Implementation.build`` fills
them with the reference's initial state.
"""

import math

import torch
from torch import Tensor, nn

from lossbench.impls.precision import widened


class ClassWeights(nn.Module):
    """A module with one weight column a class, ``weight [D, C]``."""

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))


class ArcFaceWeights(ClassWeights):
    """Class weights under a scale and an additive angular margin.

    Attributes:
        scale: the factor s of all cosines.
        cos_m: ``cos m``.
        sin_m: ``sin m``.
        lowest_cosine: the cosine at ``θ = π - m``; below it the guarded form leaves ``cos(θ + m)``.
        drop: the amount that the guarded form takes off such a cosine.
    """

    def __init__(self, num_classes: int, embedding_dim: int, scale: float, margin: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.scale = scale
        self.cos_m = math.cos(margin)
        self.sin_m = math.sin(margin)
        self.lowest_cosine = math.cos(math.pi - margin)
        self.drop = margin * math.sin(math.pi - margin)


class SphereFaceWeights(ClassWeights):
    """Class weights under a multiplicative margin, and the buffer that anneals it."""

    iteration: Tensor

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        margin: int,
        lambda_min: float,
        lambda_max: float,
        gamma: float,
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.margin = margin
        self.lambda_min = lambda_min
        self.lambda_max = lambda_max
        self.gamma = gamma
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    def _anneal(self) -> Tensor:
        """Count a call, and return its λ, without leaving the device."""
        # Not in place: a compiled backward pass would read the counter again, one call late.
        self.iteration = self.iteration + 1
        # In float64, where the counter is exact; 0-d, so that it promotes no product.
        return (self.lambda_max / (1 + 0.2 * self.iteration.double())).clamp(min=self.lambda_min)


class ClassCenters(nn.Module):
    """A module with one centre a class, ``centers [C, D]``."""

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.empty(num_classes, embedding_dim))


class IslandCenters(ClassCenters):
    """Class centres, and the weights of the two terms of the island loss."""

    def __init__(
        self, num_classes: int, embedding_dim: int, island_weight: float, batch_size: int
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.island_weight = island_weight
        self.batch_size = batch_size


class AveragingCenters(ClassCenters):
    """Class centres that a step averages with the means of their samples, besides the gradient."""

    def __init__(self, num_classes: int, embedding_dim: int, momentum: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.momentum = momentum

    @torch.no_grad()
    def _move_centers(self, embeddings: Tensor, labels: Tensor) -> None:
        """Shrink all centres by the momentum, and add the rest of each class's mean."""
        wide = embeddings.to(widened(embeddings.dtype))
        counts = _counts(labels, len(self.centers)).index_select(0, labels)
        moves = wide * ((1 - self.momentum) / counts.to(wide.dtype)).unsqueeze(1)
        self.centers.mul_(self.momentum).index_add_(0, labels, moves.to(self.centers.dtype))


class RatedCenters(ClassCenters):
    """Class centres that follow their gradient or, with a rate, move by themselves."""

    def __init__(self, num_classes: int, embedding_dim: int, center_rate: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.center_rate = center_rate
        self.centers.requires_grad_(center_rate == 0)

    @property
    def _centers_in_loss(self) -> Tensor:
        # Detached as well, for callers who unfreeze every parameter of a model at once.
        return self.centers.detach() if self.center_rate else self.centers

    @property
    def _moves(self) -> bool:
        return self.training and self.center_rate > 0

    @torch.no_grad()
    def _move_centers(self, diff: Tensor, labels: Tensor) -> None:
        """Move each class's centre by ``rate · Σ diff / (1 + count)``, where the centres move.

        Args:
            diff: the samples less their centres, ``[B, D]``.
            labels: ``[B]``.
        """
        if not self._moves:
            return
        refuse_to_compile("center_rate")
        wide = diff.to(widened(diff.dtype))
        counts = _counts(labels, len(self.centers)).index_select(0, labels) + 1
        moves = wide * (self.center_rate / counts.to(wide.dtype)).unsqueeze(1)
        self.centers.index_add_(0, labels, moves.to(self.centers.dtype))


class RatedCentersAndWeights(RatedCenters):
    """Moving centres, and class weights beside them."""

    def __init__(
        self, num_classes: int, embedding_dim: int, center_weight: float, center_rate: float
    ) -> None:
        super().__init__(num_classes, embedding_dim, center_rate)
        self.center_weight = center_weight
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))


class CentersAndWeights(ClassCenters):
    """Class centres that follow their gradient, and class weights beside them."""

    def __init__(self, num_classes: int, embedding_dim: int, center_weight: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.center_weight = center_weight
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))


def refuse_to_compile(what: str) -> None:
    """Raise, where code is compiled, since its gradient would be wrong.

    torch 2.13 gathers centres again in the compiled backward pass, which have moved since
    (pytorch #197039).

    Raises:
        NotImplementedError: while torch.compile traces.
    """
    if torch.compiler.is_compiling():
        raise NotImplementedError(
            f"{what} cannot be compiled: the gradient would see the moved centres"
        )


def _counts(labels: Tensor, num_classes: int) -> Tensor:
    """Return how often each class is there, in integers: a half precision counts to 256."""
    ones = torch.ones_like(labels)
    return ones.new_zeros(num_classes).index_add_(0, labels, ones)
