"""How labels are taken: any integer dtype as int64, and none that is no class."""

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

    Nothing is read while code is traced; what is compiled raises, or on CUDA asserts, when it runs.
    """
    fits = labels >= 0 if num_classes is None else (labels >= 0) & (labels < num_classes)
    bound = "" if num_classes is None else f" to {num_classes - 1}"
    torch._assert_async(fits.all(), f"labels must be from 0{bound}")


def refuse_strays(labels: Tensor, weight: Tensor) -> None:
    """Raise where one of ``labels [B]`` has no column in ``weight [D, C]``.

    For code that looks for each label where it is, and would pass over one that is nowhere: a
    gather raises, and on CUDA asserts, without waiting for the device.

    Raises:
        IndexError: where a label is no class.
    """
    weight[0].index_select(0, labels)
