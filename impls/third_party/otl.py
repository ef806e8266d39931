"""online-triplet-loss 0.0.6: batch-hard mining over the whole distance matrix."""

from collections.abc import Callable

from torch import Tensor, nn

from lossbench.impls.catalogue import LossAndCorrect
from lossbench.impls.registry import register


class BatchHard(nn.Module):
    """The library's function of labels, embeddings and margin."""

    def __init__(self, function: Callable[..., Tensor], margin: float) -> None:
        super().__init__()
        self.function = function
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss; the library does not return its distances."""
        return LossAndCorrect(self.function(labels, embeddings, margin=self.margin), None)


@register("triplet_batch_hard", "otl", requires=("online_triplet_loss",), leaves_out=("correct",))
def triplet_batch_hard(margin: float) -> nn.Module:
    """``batch_hard_triplet_loss``; the only sample of a class has its positive at distance 0."""
    from online_triplet_loss.losses import batch_hard_triplet_loss

    return BatchHard(batch_hard_triplet_loss, margin)
