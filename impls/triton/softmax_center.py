"""Sums of softmax and a centre loss by Triton kernels."""

from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.moving import MOVES_EAGERLY, RatedCentersAndWeights
from lossbench.impls.registry import register
from lossbench.impls.state import CentersAndWeights
from lossbench.impls.triton.centers import (
    CenterTerm,
    SummedByKernel,
    triton_centers,
    triton_centers_that_move,
)
from lossbench.impls.triton.entropy import ScoreRule, triton_cross_entropy
from lossbench.impls.triton.loaded import TRITON, OnTriton

PLAIN = ScoreRule()


@register(
    "softmax_center_unsquared", "triton", leaves_out=("logits",), refuses_labels=True, **TRITON
)
class SoftmaxCenterUnsquared(OnTriton, CentersAndWeights):
    """One root over the batch's squared differences from its centres."""

    operators = ("entropy", "centers")

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, and no logits."""
        loss = triton_cross_entropy(embeddings, self.weight, labels, PLAIN, self.options)
        term = CenterTerm(self.center_weight / 2, "row", rooted=True)
        return LossAndLogits(loss + triton_centers(embeddings, self.centers, labels, term), None)


@register(
    "softmax_center",
    "triton",
    leaves_out=("logits",),
    refuses_labels=True,
    **{**TRITON, "limits": {**MOVES_EAGERLY, **DIFFERENTIABLE_ONCE}},
)
class SoftmaxCenter(OnTriton, SummedByKernel, RatedCentersAndWeights):
    """The two sums; centres with a rate move by sums of a kernel."""

    operators = ("entropy", "centers")

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss, having moved the centres, and no logits."""
        loss = triton_cross_entropy(embeddings, self.weight, labels, PLAIN, self.options)
        inputs = embeddings, self._centers_in_loss, labels, CenterTerm(self.center_weight / 2)
        if not self._moves:
            return LossAndLogits(loss + triton_centers(*inputs), None)
        distance, differences = triton_centers_that_move(*inputs)
        self._move_centers(differences, labels)
        return LossAndLogits(loss + distance, None)
