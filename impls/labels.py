"""How labels are taken: any integer dtype as int64, and none that is no class."""

import torch
from torch import Tensor


def check_range_of_trace(
    labels: Tensor, num_classes: int | None, ignore_index: int | None = None
) -> None:
    """Put into traced code that labels are from 0 to ``num_classes``, exclusive, or left out.

    Nothing is read while code is traced; what is compiled raises, or on CUDA asserts, when it runs.
    """
    fits = labels >= 0 if num_classes is None else (labels >= 0) & (labels < num_classes)
    if ignore_index is not None:
        fits |= labels == ignore_index
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
