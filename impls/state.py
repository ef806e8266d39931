"""The parameters and buffers that contenders share, and how a step changes them.

They have the names and shapes of the catalogue, and are left unset: ``Implementation.build`` fills
them with the reference's initial state.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.impls.catalogue import EntropyOptions
from lossbench.impls.precision import widened
from lossbench.impls.processes import count_processes, shard_like, sum_over_processes_
from lossbench.impls.scores import cosines, max_norm_products, products, projections

_MOVED_GRADIENT = "refused with a center_rate: the gradient would see the moved centres"
MOVES_EAGERLY: Mapping[str, str] = {"compile": _MOVED_GRADIENT, "export": _MOVED_GRADIENT}
"""The limits of a variant whose centres move where they have a rate."""


class ClassWeights(nn.Module):
    """A module with one weight column a class, ``weight [D, C]``.

    Attributes:
        options: the options of its cross-entropy; ``build`` sets those that are not the defaults.
    """

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.options = EntropyOptions()
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels, ``[B, C]``."""
        return products(embeddings, self.weight)


class MaxNormWeights(ClassWeights):
    """Class weights of length 1, by a max-norm."""

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels, ``[B, C]``."""
        return max_norm_products(embeddings, self.weight)


class CosineWeights(ClassWeights):
    """Class weights under a scale.

    Attributes:
        scale: the factor s of all cosines.
    """

    def __init__(self, num_classes: int, embedding_dim: int, scale: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.scale = scale

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels or margin, ``[B, C]``."""
        return cosines(embeddings, self.weight, self.scale)


class ArcFaceWeights(CosineWeights):
    """Class weights under a scale and an additive angular margin.

    Attributes:
        cos_m: ``cos m``.
        sin_m: ``sin m``.
        lowest_cosine: the cosine at ``θ = π - m``; below it the guarded form leaves ``cos(θ + m)``.
        drop: the amount that the guarded form takes off such a cosine.
    """

    def __init__(self, num_classes: int, embedding_dim: int, scale: float, margin: float) -> None:
        super().__init__(num_classes, embedding_dim, scale)
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
        if _compiles_backward():
            # Not in place: a compiled backward pass would read the counter again, one call late.
            self.iteration = self.iteration + 1
        else:
            # In place: in inference mode a new counter could never be trained with again.
            self.iteration += 1
        # In float64, where the counter is exact; 0-d, so that it promotes no product.
        return (self.lambda_max / (1 + 0.2 * self.iteration.double())).clamp(min=self.lambda_min)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels or margin, ``[B, C]``."""
        return projections(embeddings, self.weight)


class ClassCenters(nn.Module):
    """A module with one centre a class, ``centers [C, D]``."""

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.empty(num_classes, embedding_dim))


class SparseRows(nn.Embedding):
    """What the centres of a sparse variant are to DistributedDataParallel.

    It asks an ``nn.Embedding``, and nothing else, whether to expect sparse gradients. Of the rest
    of that class nothing is used.
    """

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.sparse = True

    def extra_repr(self) -> str:
        """Return nothing: the sizes that an embedding shows are not set."""
        return ""


class IslandCenters(ClassCenters):
    """Class centres, and the weights of the two terms of the island loss."""

    def __init__(
        self, num_classes: int, embedding_dim: int, island_weight: float, batch_size: int
    ) -> None:
        super().__init__(num_classes, embedding_dim)
        self.island_weight = island_weight
        self.batch_size = batch_size


class ShiftingCenters(ClassCenters):
    """Class centres that a forward pass moves by the samples of all processes.

    Every process must call the module as often as the others, in evaluation too where that moves
    centres.
    """

    _sharded: Tensor | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Remember the shards of fully_shard, which puts a copy in their place for each call.

        What moves the copy alone is lost when its memory is freed.
        """
        if name == "centers" and hasattr(value, "placements"):
            self.__dict__["_sharded"] = value
        super().__setattr__(name, value)

    @torch.no_grad()
    def _shift(
        self,
        rows: Tensor,
        labels: Tensor,
        share: Callable[[Tensor], Tensor],
        momentum: float = 1,
    ) -> None:
        """Add to the centres, times ``momentum``, ``share(n) · Σ rows`` of each class.

        Args:
            rows: one a sample, ``[B, D]``.
            labels: ``[B]``.
            share: the factor of the sum of a class with n samples, from 0 on.
            momentum: the factor of all centres.
        """
        wide = rows.to(widened(rows.dtype))
        counts = _counts(labels, len(self.centers))
        if self._sharded is None and count_processes() == 1:
            moves = wide * share(counts.index_select(0, labels).to(wide.dtype)).unsqueeze(1)
            centers = self.centers if momentum == 1 else self.centers.mul_(momentum)
            centers.index_add_(0, labels, moves.to(centers.dtype))
            return
        refuse_to_compile("moving the centres of several processes")
        sums = wide.new_zeros(self.centers.shape).index_add_(0, labels, wide)
        sum_over_processes_(sums, counts)
        moves = sums * share(counts.to(wide.dtype)).unsqueeze(1)
        self.centers.mul_(momentum).add_(moves)
        if self._sharded is not None:
            self._sharded.mul_(momentum).add_(shard_like(moves, self._sharded))


class AveragingCenters(ShiftingCenters):
    """Class centres that a step averages with the means of their samples, besides the gradient."""

    def __init__(self, num_classes: int, embedding_dim: int, momentum: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.momentum = momentum

    def _move_centers(self, embeddings: Tensor, labels: Tensor) -> None:
        """Shrink all centres by the momentum, and add the rest of each class's mean."""

        def share(counts: Tensor) -> Tensor:
            return (1 - self.momentum) / counts.clamp(min=1)

        self._shift(embeddings, labels, share, self.momentum)


class RatedCenters(ShiftingCenters):
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

    def _move_centers(self, diff: Tensor, labels: Tensor) -> None:
        """Move each class's centre by ``rate · Σ diff / (1 + count)``, where the centres move.

        Args:
            diff: the samples less their centres, ``[B, D]``.
            labels: ``[B]``.
        """
        if not self._moves:
            return
        refuse_to_compile("center_rate")
        self._shift(diff, labels, lambda counts: self.center_rate / (1 + counts))


class RatedCentersAndWeights(RatedCenters):
    """Moving centres, and class weights beside them."""

    def __init__(
        self, num_classes: int, embedding_dim: int, center_weight: float, center_rate: float
    ) -> None:
        super().__init__(num_classes, embedding_dim, center_rate)
        self.options = EntropyOptions(reduction="sum")
        self.center_weight = center_weight
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels, ``[B, C]``."""
        return products(embeddings, self.weight)


class CentersAndWeights(ClassCenters):
    """Class centres that follow their gradient, and class weights beside them."""

    def __init__(self, num_classes: int, embedding_dim: int, center_weight: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.options = EntropyOptions()
        self.center_weight = center_weight
        self.weight = nn.Parameter(torch.empty(embedding_dim, num_classes))

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [B, D]`` without labels, ``[B, C]``."""
        return products(embeddings, self.weight)


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


def _compiles_backward() -> bool:
    compiling = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
    return compiling and torch.is_grad_enabled()
