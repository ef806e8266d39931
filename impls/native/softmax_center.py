"""Sums of softmax and a centre loss by one native operator."""

from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.moving import MOVES_EAGERLY, RatedCentersAndWeights
from lossbench.impls.native.build import problem
from lossbench.impls.native.centers import CenterTerms, native_softmax_center
from lossbench.impls.native.moving import NativeShift
from lossbench.impls.native.operators import NATIVE, Native
from lossbench.impls.registry import register
from lossbench.impls.state import CentersAndWeights


@register(
    "softmax_center_unsquared", "native", leaves_out=("logits",), refuses_labels=True, **NATIVE
)
class SoftmaxCenterUnsquared(Native, CentersAndWeights):
    """One norm over the batch's differences from its centres."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and no logits."""
        terms = CenterTerms(self.center_weight / (2 * labels.size(0)), rooted=True)
        weight, centers = self.weight, self.centers
        loss = native_softmax_center(embeddings, weight, centers, labels, terms, self.options)
        return LossAndLogits(loss, None)


@register(
    "softmax_center",
    "native",
    devices=("cpu",),
    limits={**MOVES_EAGERLY, **DIFFERENTIABLE_ONCE},
    leaves_out=("logits",),
    problem=problem,
    refuses_labels=True,
)
class SoftmaxCenter(Native, NativeShift, RatedCentersAndWeights):
    """The two sums; an operator moves centres with a rate."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, having moved the centres, and no logits."""
        terms = CenterTerms(self.center_weight / 2)
        centers, moves = self._centers_in_loss, self._moves
        loss = native_softmax_center(
            embeddings, self.weight, centers, labels, terms, self.options, moves=moves
        )
        if moves:
            self._move_centers_towards(embeddings, labels)
        return LossAndLogits(loss, None)
