"""The softmax-weighted triplet losses: the document's, and the paper's with exact weights."""

import torch
from torch import Tensor, nn

from impls.catalogue import LossAndCorrect
from impls.fused.blocks import has_bands
from impls.fused.precomputed import wants_gradient, with_gradient
from impls.fused.weighting import Weighted, weighted_triplet
from impls.fused.weighting_dense import dense_triplet
from impls.fused.weighting_symmetric import unshifted_triplet
from impls.precision import widened, without_autocast
from impls.registry import register

# Up to this batch compiled code takes all pairs at once: fused, a pass over them costs little.
DENSE_BATCH = 1024


class _Weighted(nn.Module):
    """The gradient is made along with the loss, and alone is kept.

    Attributes:
        epsilon: added to the sums of the weights.
        shifted: whether the closest negative's distance is taken off before the exponential.
    """

    epsilon: float
    shifted: bool

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    @without_autocast
    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndCorrect:
        """Return the loss and the number of correct anchors."""
        x = embeddings.to(widened(embeddings.dtype))
        if self.normalize:
            x = x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-12)
        result = self._weighted(x.detach(), labels, wants_gradient(x))
        loss = with_gradient(result.loss, x, result.gradient)
        return LossAndCorrect(loss.to(embeddings.dtype), result.correct)

    def _weighted(self, x: Tensor, labels: Tensor, wants_gradient: bool) -> Weighted:
        if has_bands(labels) and not self.shifted:
            return unshifted_triplet(x, labels, epsilon=self.epsilon, wants_gradient=wants_gradient)
        at_once = torch.compiler.is_compiling() and len(x) <= DENSE_BATCH
        return (dense_triplet if at_once else weighted_triplet)(
            x, labels, epsilon=self.epsilon, shifted=self.shifted, wants_gradient=wants_gradient
        )


@register("triplet_weighted_unshifted", "fused", compiles=True)
class TripletWeightedUnshifted(_Weighted):
    """The document's weights, with 1e-6 in their sums and the negatives' unshifted."""

    epsilon = 1e-6
    shifted = False


@register("triplet_weighted", "fused", compiles=True)
class TripletWeighted(_Weighted):
    """Exact weights at any distance."""

    epsilon = 0
    shifted = True
