"""The softmax-weighted triplet losses: the document's, and the paper's with exact weights."""

import torch
from torch import Tensor

from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.formulas import ADDED_LENGTH
from lossbench.impls.fused.pairs.precomputed import Evaluated, Precomputed
from lossbench.impls.fused.pairs.row_blocks import has_bands
from lossbench.impls.fused.pairs.weighting import weighted_triplet
from lossbench.impls.fused.pairs.weighting_dense import dense_triplet
from lossbench.impls.fused.pairs.weighting_symmetric import unshifted_triplet
from lossbench.impls.registry import register


class _WeightedTriplet(Precomputed):
    """The forward pass computes the gradient too, and keeps nothing else.

    Attributes:
        epsilon: the number added to the sums of the weights.
        shifted: true if the closest negative's distance is subtracted before the exponential.
    """

    epsilon: float
    shifted: bool

    def __init__(self, normalize: bool) -> None:
        super().__init__()
        self.normalize = normalize

    def evaluate(self, x: Tensor, labels: Tensor, wants_gradient: bool) -> Evaluated:
        """Evaluate the rows, normalised if the module normalises."""
        if not self.normalize:
            return self._weighted(x, labels, wants_gradient)
        lengths = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        divisor = lengths + ADDED_LENGTH
        unit = x / divisor
        result = self._weighted(unit, labels, wants_gradient)
        if result.gradient is None:
            return result
        # The length of a row of zeros has no gradient.
        radial = x / lengths.masked_fill(lengths == 0, 1)
        along = (unit * result.gradient).sum(1, keepdim=True)
        gradient = (result.gradient - radial * along) / divisor
        # torch 2.11 cannot compile a named tuple's _replace.
        return Evaluated(result.loss, result.correct, gradient)

    def _weighted(self, x: Tensor, labels: Tensor, wants_gradient: bool) -> Evaluated:
        # In compiled code a pass over all pairs is cheap, and a loop over blocks takes minutes to
        # compile.
        at_once = torch.compiler.is_compiling()
        if not at_once and not self.shifted and has_bands(labels):
            return unshifted_triplet(x, labels, epsilon=self.epsilon, wants_gradient=wants_gradient)
        return (dense_triplet if at_once else weighted_triplet)(
            x, labels, epsilon=self.epsilon, shifted=self.shifted, wants_gradient=wants_gradient
        )


@register("triplet_weighted_unshifted", "fused", compiles=True, limits=DIFFERENTIABLE_ONCE)
class TripletWeightedUnshifted(_WeightedTriplet):
    """The document's weights, with 1e-6 in their sums and the negatives' unshifted."""

    epsilon = 1e-6
    shifted = False


@register("triplet_weighted", "fused", compiles=True, limits=DIFFERENTIABLE_ONCE)
class TripletWeighted(_WeightedTriplet):
    """Exact weights at any distance."""

    epsilon = 0
    shifted = True
