"""The centre losses of each sample and its own centre: a gather, and autograd's scatter.

The backward pass is autograd's, because our own could not save memory over a gather, a difference
and a sum.
"""

import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.class_rows import class_rows
from lossbench.impls.moving import MOVES_EAGERLY, RatedCenters
from lossbench.impls.precision import widened
from lossbench.impls.registry import register
from lossbench.impls.state import ClassCenters, SparseRows, sparse_limits


class _CenterMse(ClassCenters):
    sparse = False

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss."""
        chosen = class_rows(self.centers, labels, sparse=self.sparse)
        return LossOnly(F.mse_loss(_wide(embeddings), _wide(chosen)))


@register("center_mse", "fused", compiles=True, refuses_labels=True)
class CenterMse(_CenterMse):
    """The gradient to the centres is one scatter into zeros, ``[C, D]``."""


@register("center_mse", "sparse", sparse=True, limits=sparse_limits(), refuses_labels=True)
class CenterMseSparse(_CenterMse, SparseRows):  # type: ignore[misc]
    """The gradient to the centres is sparse, of the classes present, for SGD and SparseAdam."""

    sparse = True


class _Center(RatedCenters):
    sparse = False

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossOnly:
        """Return the loss, and move the centres if they have a rate."""
        chosen = class_rows(self._centers_in_loss, labels, sparse=self.sparse)
        loss = F.mse_loss(_wide(embeddings), _wide(chosen), reduction="sum") / 2
        if self._moves:
            self._move_centers(_wide(embeddings.detach()) - _wide(chosen.detach()), labels)
        return LossOnly(loss)


@register("center", "fused", compiles=True, limits=MOVES_EAGERLY, refuses_labels=True)
class Center(_Center):
    """The gradient to the centres is one scatter into zeros, ``[C, D]``."""


@register(
    "center",
    "sparse",
    sparse=True,
    limits={**sparse_limits(" without a center_rate"), **MOVES_EAGERLY},
    refuses_labels=True,
)
class CenterSparse(_Center, SparseRows):  # type: ignore[misc]
    """The gradient to the centres is sparse, of the classes present, for SGD and SparseAdam."""

    sparse = True


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(widened(tensor.dtype))
