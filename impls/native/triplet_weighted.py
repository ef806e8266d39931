"""The softmax-weighted triplet losses by a native operator: value and gradient in one pass."""

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.formulas import unit_rows
from lossbench.impls.native.operators import NATIVE, Native
from lossbench.impls.native.precomputed import evaluate
from lossbench.impls.registry import register


class _NativeWeighted(Native):
    """The weights of distances are summed in tiles, each for both of its sides.

    Attributes:
        epsilon: the number added to the sums of the weights.
        shifted: true if the closest negative's distance is subtracted before the exponential.
    """

    epsilon: float
    shifted: bool

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        x = unit_rows(embeddings) if self.normalize else embeddings
        operator = torch.ops.lossbench_native.triplet_weighted.default
        return evaluate(operator, x, labels, self.epsilon, self.shifted)


@register("triplet_weighted_unshifted", "native", refuses_labels=True, **NATIVE)
class TripletWeightedUnshifted(_NativeWeighted):
    """The document's weights, with 1e-6 in their sums and the negatives' unshifted."""

    epsilon = 1e-6
    shifted = False


@register("triplet_weighted", "native", refuses_labels=True, **NATIVE)
class TripletWeighted(_NativeWeighted):
    """Exact weights at any distance."""

    epsilon = 0.0
    shifted = True
