"""The contrastive losses by a native operator: the value and the gradients in one pass."""

from torch import Tensor

from lossbench.impls.catalogue import LossOnly
from lossbench.impls.native.operators import NATIVE, Native
from lossbench.impls.native.pairs import native_contrastive
from lossbench.impls.registry import register


class _NativeContrastive(Native):
    """A distance of the rows of each pair, or one of all of them.

    Attributes:
        whole_batch: true for one distance.
    """

    whole_batch: bool

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x0: Tensor, x1: Tensor, same: Tensor) -> LossOnly:
        """Return the loss."""
        given = x0, x1, same, self.margin
        return LossOnly(native_contrastive(*given, whole_batch=self.whole_batch))


@register("contrastive", "native", **NATIVE)
class Contrastive(_NativeContrastive):
    """One distance per pair."""

    whole_batch = False


@register("contrastive_whole_batch", "native", **NATIVE)
class ContrastiveWholeBatch(_NativeContrastive):
    """One distance of the batch; the loss is linear in the labels, so their mean is enough."""

    whole_batch = True
