"""What a loss returns: one named tuple a family, its first field the one that is differentiated."""

from typing import NamedTuple

from torch import Tensor


class LossOnly(NamedTuple):
    """A loss that is a number and nothing else.

    Attributes:
        loss: the mean or sum that the document defines, 0-d.
    """

    loss: Tensor


class LossAndLogits(NamedTuple):
    """A classification loss and the scores that it was computed from.

    Attributes:
        loss: 0-d; ``[B]`` under the reduction ``none``.
        logits: ``[B, C]``, or ``None`` where an implementation never forms them.
    """

    loss: Tensor
    logits: Tensor | None


class LossAndCorrect(NamedTuple):
    """A triplet loss and how many anchors were already in order.

    Attributes:
        loss: 0-d.
        correct: the number of anchors at least as far from their negative as from their positive,
            0-d int64; ``None`` where an implementation does not count.
    """

    loss: Tensor
    correct: Tensor | None


class Distances(NamedTuple):
    """A building block's output.

    Attributes:
        distances: ``[M, N]``, or 0-d for the distance of two whole arrays.
    """

    distances: Tensor
