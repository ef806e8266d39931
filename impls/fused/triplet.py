"""The batch-hard triplet loss: mined without a gradient, then two distances an anchor."""

import torch
from torch import Tensor

from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.fused.pairs.mining import hardest
from lossbench.impls.fused.pairs.precomputed import Evaluated, Precomputed
from lossbench.impls.registry import register

# The root of the document's 1e-12; a distance below it is clamped and has no gradient.
LEAST_DISTANCE = 1e-6


@register("triplet_batch_hard", "fused", compiles=True, limits=DIFFERENTIABLE_ONCE)
class TripletBatchHard(Precomputed):
    """Mine by one product in blocks, then compute the chosen distances from differences.

    The product is computed a block at a time. Only each anchor and its two partners have a
    gradient: ``O(B D)`` work and memory beyond the product. It is computed in the forward pass,
    from the differences that are there already.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def evaluate(self, x: Tensor, labels: Tensor, wants_gradient: bool) -> Evaluated:
        """Mine by one product, then compute the chosen distances from differences."""
        partners = hardest(x, labels)
        diff = x.index_select(0, partners).view(2, *x.shape).sub_(x)
        lengths = torch.linalg.vector_norm(diff, dim=2)
        furthest, closest = lengths.clamp(min=LEAST_DISTANCE).unbind(0)
        # Without a negative in the batch, mining returns a sample of the same class.
        same = labels.index_select(0, partners[x.size(0) :]) == labels
        closest = closest.masked_fill(same, torch.inf)
        hinge = (furthest - closest).add_(self.margin)
        gradient = _gradient(diff, lengths, hinge, partners) if wants_gradient else None
        return Evaluated(hinge.relu().mean(), (closest >= furthest).count_nonzero(), gradient)


def _gradient(diff: Tensor, lengths: Tensor, hinge: Tensor, partners: Tensor) -> Tensor:
    """Return the gradient ``[B, D]`` of the mean hinge, overwriting ``diff [2, B, D]``."""
    # A clamped distance, or one of a triplet with loss 0, has no gradient: infinity replaces it.
    divisor = torch.threshold(lengths, LEAST_DISTANCE, torch.inf)
    divisor.masked_fill_(hinge < 0, torch.inf)
    pulls = diff.div_((divisor * hinge.size(0)).unsqueeze(2))
    gradient = pulls[1] - pulls[0]
    pulls[1].neg_()
    # Compiled code for several threads makes each addition of index_add atomic, which is slow.
    rows = partners.unsqueeze(1).expand(-1, gradient.size(1))
    return gradient.scatter_add_(0, rows, pulls.flatten(0, 1))
