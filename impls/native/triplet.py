"""The batch-hard triplet loss by a native operator: the value and the gradient in one pass."""

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.native.operators import NATIVE, Native
from lossbench.impls.native.precomputed import evaluate
from lossbench.impls.registry import register


@register("triplet_batch_hard", "native", refuses_labels=True, **NATIVE)
class TripletBatchHard(Native):
    """Mine in tiles, each for both of its sides; then two differences an anchor."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        operator = torch.ops.lossbench_native.triplet_batch_hard.default
        return evaluate(operator, embeddings, labels, self.margin)
