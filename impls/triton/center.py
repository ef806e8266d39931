"""The centre losses of each sample and its own centre by Triton kernels."""

from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.differentiable import DIFFERENTIABLE_ONCE
from lossbench.impls.moving import MOVES_EAGERLY, RatedCenters
from lossbench.impls.registry import register
from lossbench.impls.state import ClassCenters, SparseRows, sparse_limits
from lossbench.impls.triton.centers import (
    CenterTerm,
    SummedByKernel,
    triton_centers,
    triton_centers_that_move,
)
from lossbench.impls.triton.loaded import TRITON, OnTriton

COMPILED = {"compile": "refused by torch: traced code makes no sparse gradient of our own"}


class _CenterMseOnTriton(OnTriton, ClassCenters):
    operators = ("centers",)
    term = CenterTerm(1, "element")
    sparse = False

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        loss = triton_centers(embeddings, self.centers, labels, self.term, sparse=self.sparse)
        return LossOnly(loss)


@register("center_mse", "triton", refuses_labels=True, **TRITON)
class CenterMse(_CenterMseOnTriton):
    """The gradient to the centres is written once, by the first sample of each class."""


@register(
    "center_mse",
    "triton_sparse",
    sparse=True,
    refuses_labels=True,
    **{**TRITON, "limits": {**sparse_limits(), **DIFFERENTIABLE_ONCE, **COMPILED}},
)
class CenterMseSparse(_CenterMseOnTriton, SparseRows):  # type: ignore[misc]
    """The gradient to the centres is sparse, of the classes present, for SGD and SparseAdam."""

    sparse = True


class _CenterOnTriton(OnTriton, SummedByKernel, RatedCenters):
    operators = ("centers",)
    term = CenterTerm(0.5)
    sparse = False

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, and move the centres if they have a rate."""
        inputs = embeddings, self._centers_in_loss, labels, self.term
        if not self._moves:
            return LossOnly(triton_centers(*inputs, sparse=self.sparse))
        loss, differences = triton_centers_that_move(*inputs)
        self._move_centers(differences, labels)
        return LossOnly(loss)


@register(
    "center",
    "triton",
    refuses_labels=True,
    **{**TRITON, "limits": {**MOVES_EAGERLY, **DIFFERENTIABLE_ONCE}},
)
class Center(_CenterOnTriton):
    """Half the sum of the squared differences; centres with a rate move by sums of a kernel."""


@register(
    "center",
    "triton_sparse",
    sparse=True,
    refuses_labels=True,
    **{
        **TRITON,
        "limits": {
            **sparse_limits(" without a center_rate"),
            **MOVES_EAGERLY,
            **DIFFERENTIABLE_ONCE,
            **COMPILED,
        },
    },
)
class CenterSparse(_CenterOnTriton, SparseRows):  # type: ignore[misc]
    """The gradient to the centres is sparse, of the classes present, for SGD and SparseAdam."""

    sparse = True
