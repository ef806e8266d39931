"""Base classes of modules that move their class centres in a forward pass, and how they do it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

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


class Shift(NamedTuple):
    """A move of centres: ``c ← momentum · c + share / (added + n) · Σ rows``, by n samples.

    Attributes:
        share: the numerator of the factor of a class's sum.
        added: the number that is added to the number of its samples.
        momentum: the factor of all centres.
        differences: whether the samples' differences from their centres are summed, and not the
            samples.
    """

    share: float
    added: float = 0
    momentum: float = 1
    differences: bool = False


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

    def _shift(self, samples: Tensor, labels: Tensor, shift: Shift) -> None:
        """Move the centres by the samples of all processes.

        A pass that checkpointing runs again moves nothing.

        Args:
            samples: one row per sample, ``[B, D]``.
            labels: the labels of the samples, ``[B]``.
            shift: the move.
        """
        if not torch.compiler.is_compiling() and in_backward():
            return
        # Without a block of no_grad: torch.export cannot save one that returns nothing.
        centers, samples = self.centers.detach(), samples.detach()
        if self._sharded is None and count_processes() == 1:
            self._shift_alone(centers, samples, labels, shift)
            return
        refuse_to_compile("moving the centres of several processes")
        rows = _rows(shift, samples, centers, labels)
        counts = _counts(labels, len(centers))
        wide = rows.to(widened(rows.dtype))
        sums = wide.new_zeros(centers.shape).index_add_(0, labels, wide)
        sum_over_processes_(sums, counts)
        moves = _moves(shift, sums, counts)
        centers.mul_(shift.momentum).add_(moves)
        if self._sharded is not None:
            self._sharded.detach().mul_(shift.momentum).add_(shard_like(moves, self._sharded))

    def _shift_alone(self, centers: Tensor, samples: Tensor, labels: Tensor, shift: Shift) -> None:
        """Move ``centers [C, D]`` in place by the samples of one process that trains alone."""
        rows = _rows(shift, samples, centers, labels)
        classes, sums, counts = self._sums_of_classes(rows, labels)
        moves = _moves(shift, sums, counts)
        if shift.momentum != 1:
            centers.mul_(shift.momentum)
        # A centre that took its samples one by one would be rounded at each of them.
        centers.index_add_(0, classes, moves.to(centers.dtype))

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
        self._shift(embeddings, labels, Shift(1 - self.momentum, momentum=self.momentum))


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
        self._follow(diff, labels, Shift(self.center_rate, added=1))

    def _move_centers_towards(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move as ``_move_centers`` does, by embeddings ``[B, D]`` without their differences."""
        self._follow(embeddings, labels, Shift(self.center_rate, added=1, differences=True))

    def _follow(self, samples: Tensor, labels: Tensor, shift: Shift) -> None:
        if not self._moves:
            return
        refuse_to_compile("center_rate")
        self._shift(samples, labels, shift)


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


def _rows(shift: Shift, samples: Tensor, centers: Tensor, labels: Tensor) -> Tensor:
    """Return the rows that are summed, ``[B, D]``."""
    if not shift.differences:
        return samples
    wide = widened(samples.dtype)
    return samples.to(wide) - centers.index_select(0, labels).to(wide)


def _moves(shift: Shift, sums: Tensor, counts: Tensor) -> Tensor:
    """Return what is added for sums of rows and their counts; a sum of no rows stays 0."""
    divisors = counts.clamp(min=1).to(sums.dtype)
    if shift.added:
        divisors = shift.added + divisors
    return sums * (shift.share / divisors).unsqueeze(1)


def _counts(labels: Tensor, num_classes: int) -> Tensor:
    """Return the number of samples of each class, in integers: bfloat16 counts only to 256."""
    ones = torch.ones_like(labels)
    return ones.new_zeros(num_classes).index_add_(0, labels, ones)
