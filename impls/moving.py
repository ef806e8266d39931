"""Base classes of modules that move their class centres in a forward pass, and how they do it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.impls.catalogue import EntropyOptions
from lossbench.impls.class_rows import places_of_classes, sums_by_class
from lossbench.impls.precision import widened
from lossbench.impls.processes import count_processes, shard_like, sum_over_processes_
from lossbench.impls.recomputation import in_backward
from lossbench.impls.scores import products
from lossbench.impls.state import ClassCenters

_MOVED_GRADIENT = "refused with a center_rate: the gradient would see the moved centres"
MOVES_EAGERLY: Mapping[str, str] = {"compile": _MOVED_GRADIENT, "export": _MOVED_GRADIENT}
"""The limits of a variant that moves its centres if they have a rate."""


class ShiftingCenters(ClassCenters):
    """Class centres that a forward pass moves by the samples of all processes.

    All processes must call the module equally often, in evaluation too if that moves centres.
    """

    _sharded: Tensor | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Remember the shards of fully_shard, which replaces them by a copy during each call.

        The copy is freed after the call, so a move must change the shards too.
        """
        if name == "centers" and hasattr(value, "placements"):
            self.__dict__["_sharded"] = value
        super().__setattr__(name, value)

    def _shift(
        self,
        rows: Tensor,
        labels: Tensor,
        share: Callable[[Tensor], Tensor],
        momentum: float = 1,
    ) -> None:
        """Add to the centres, times ``momentum``, ``share(n) · Σ rows`` of each class.

        A pass that checkpointing runs again moves nothing.

        Args:
            rows: one row per sample, ``[B, D]``.
            labels: the labels of the samples, ``[B]``.
            share: a function from the number n of a class's samples, 1 or more, to its factor.
            momentum: the factor of all centres.
        """
        if not torch.compiler.is_compiling() and in_backward():
            return
        # Without a block of no_grad: torch.export cannot save one that returns nothing.
        centers, rows = self.centers.detach(), rows.detach()
        if self._sharded is None and count_processes() == 1:
            classes, sums, counts = self._sums_of_classes(rows, labels)
            moves = _shared(sums, counts, share)
            if momentum != 1:
                centers.mul_(momentum)
            # A centre that took its samples one by one would be rounded at each of them.
            centers.index_add_(0, classes, moves.to(centers.dtype))
            return
        refuse_to_compile("moving the centres of several processes")
        counts = _counts(labels, len(centers))
        wide = rows.to(widened(rows.dtype))
        sums = wide.new_zeros(centers.shape).index_add_(0, labels, wide)
        sum_over_processes_(sums, counts)
        moves = _shared(sums, counts, share)
        centers.mul_(momentum).add_(moves)
        if self._sharded is not None:
            self._sharded.detach().mul_(momentum).add_(shard_like(moves, self._sharded))

    def _sums_of_classes(self, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return classes ``[B]``, the sums of their rows ``[B, D]``, and their counts ``[B]``.

        One entry of a class has its sum and its count; any other entry of it has 0.

        Args:
            rows: one row per sample, ``[B, D]``.
            labels: the labels of the samples, ``[B]``.
        """
        places = places_of_classes(labels, len(self.centers))
        return labels, sums_by_class(rows, places), _counts(places, labels.size(0))


class AveragingCenters(ShiftingCenters):
    """Class centres that a step averages with the means of their samples, besides the gradient."""

    def __init__(self, num_classes: int, embedding_dim: int, momentum: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.momentum = momentum

    def _move_centers(self, embeddings: Tensor, labels: Tensor) -> None:
        """Shrink all centres by the momentum, and add the rest of each class's mean."""
        rest = 1 - self.momentum
        self._shift(embeddings, labels, lambda counts: rest / counts, self.momentum)


class RatedCenters(ShiftingCenters):
    """Class centres that follow their gradient or, with a rate, move by themselves."""

    def __init__(self, num_classes: int, embedding_dim: int, center_rate: float) -> None:
        super().__init__(num_classes, embedding_dim)
        self.center_rate = center_rate
        self.centers.requires_grad_(center_rate == 0)

    @property
    def _centers_in_loss(self) -> Tensor:
        # A caller may unfreeze every parameter of a model at once, so the centres are detached too.
        return self.centers.detach() if self.center_rate else self.centers

    @property
    def _moves(self) -> bool:
        return self.training and self.center_rate > 0

    def _move_centers(self, diff: Tensor, labels: Tensor) -> None:
        """Move each class's centre by ``rate · Σ diff / (1 + count)``, if the centres move.

        Args:
            diff: the samples minus their centres, ``[B, D]``.
            labels: the labels of the samples, ``[B]``.
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


def refuse_to_compile(what: str) -> None:
    """Raise an error in compiled code, because its gradient would be wrong.

    In the compiled backward pass torch 2.13 reads the centres again, after they have moved
    (pytorch #197039).

    Raises:
        NotImplementedError: if torch.compile traces the call.
    """
    if torch.compiler.is_compiling():
        raise NotImplementedError(
            f"{what} cannot be compiled: the gradient would see the moved centres"
        )


def _shared(sums: Tensor, counts: Tensor, share: Callable[[Tensor], Tensor]) -> Tensor:
    """Return sums of rows times the shares for their counts; a sum of no rows stays 0."""
    return sums * share(counts.clamp(min=1).to(sums.dtype)).unsqueeze(1)


def _counts(labels: Tensor, num_classes: int) -> Tensor:
    """Return the number of samples of each class, in integers: bfloat16 counts only to 256."""
    ones = torch.ones_like(labels)
    return ones.new_zeros(num_classes).index_add_(0, labels, ones)
