"""The named tuples that losses return; the first field is the one to differentiate."""

from typing import NamedTuple

from torch import Tensor


class LossOnly(NamedTuple):
    """The output of a loss that returns only a number.

    Attributes:
        loss: mean or sum that the definition asks for, 0-d.
    """

    loss: Tensor


class LossAndLogits(NamedTuple):
    """The output of a classification loss.

    Attributes:
        loss: loss, 0-d; ``[B]`` with the reduction ``none``.
        logits: scores, ``[B, C]``; ``None`` if an implementation never forms them.
    """

    loss: Tensor
    logits: Tensor | None


class LossAndCorrect(NamedTuple):
    """The output of a triplet loss.

    Attributes:
        loss: loss, 0-d.
        correct: number of anchors at least as far from their negative as from their positive, 0-d
            int64; ``None`` if an implementation does not count them.
    """

    loss: Tensor
    correct: Tensor | None


class Distances(NamedTuple):
    """The output of a distance.

    Attributes:
        distances: distances, ``[M, N]``, or 0-d for two whole arrays.
    """

    distances: Tensor
