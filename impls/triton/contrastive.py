"""The contrastive losses by Triton kernels: the value and a factor of each difference at once."""

from typing import ClassVar

import torch
from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.registry import register
from lossbench.impls.triton.differences import triton_differences
from lossbench.impls.triton.loaded import TRITON, OnTriton


class _ContrastiveOnTriton(OnTriton):
    """A contrastive loss.

    Attributes:
        operator: the name of its operator.
    """

    operators = ("contrastive",)
    operator: ClassVar[str]

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        similar = same.to(torch.float32).expand(x0.size(0)).contiguous()
        loss = triton_differences(self.operator, x0, x1, similar, float(self.margin))
        return LossOnly(loss)


@register("contrastive", "triton", **TRITON)
class Contrastive(_ContrastiveOnTriton):
    """One distance per pair."""

    operator = "contrastive"


@register("contrastive_whole_batch", "triton", **TRITON)
class ContrastiveWholeBatch(_ContrastiveOnTriton):
    """One distance of the batch; the loss is linear in the labels, so their mean is enough."""

    operator = "contrastive_whole_batch"
