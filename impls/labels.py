"""Cross-entropy and checks that refuse every label that is not a class."""

import torch
import torch.nn.functional as F
from torch import Tensor

# What F.cross_entropy leaves out, by default -100: here no label at all, so that none is left out
# in silence and -100 is refused as any other that is no class.
NO_LABEL = torch.iinfo(torch.int32).min


def cross_entropy(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy of ``logits [B, C]`` for ``labels [B]``, int64.

    Raises:
        IndexError: where a label is no class; on CUDA the device asserts.
    """
    return F.cross_entropy(logits, labels, reduction=reduction, ignore_index=NO_LABEL)


def check_range_of_trace(labels: Tensor, num_classes: int | None) -> None:
    """Put into traced code that labels are from 0 to ``num_classes``, exclusive.

    Tracing reads no values; the compiled code raises when it runs, on CUDA by a device assertion.
    """
    fits = labels >= 0 if num_classes is None else (labels >= 0) & (labels < num_classes)
    bound = "" if num_classes is None else f" to {num_classes - 1}"
    torch._assert_async(fits.all(), f"labels must be from 0{bound}")


def refuse_strays(labels: Tensor, weight: Tensor) -> None:
    """Raise an error if one of ``labels [B]`` has no column in ``weight [D, C]``.

    Code that searches each tile for its labels would miss such a label in silence. A gather raises,
    on CUDA by a device assertion, without waiting for the device.

    Raises:
        IndexError: if a label is not a class.
    """
    weight[0].index_select(0, labels)
