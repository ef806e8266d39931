"""Cross-entropy and checks that refuse every label that is not a class."""

import torch
from torch import Tensor


def check_range_of_trace(
    labels: Tensor, num_classes: int | None, ignore_index: int | None = None
) -> None:
    """Add an assertion to traced code: labels are from 0 to ``num_classes``, exclusive, or ignored.

    Tracing reads no values; the compiled code raises when it runs, on CUDA by a device assertion.
    """
    fits = labels >= 0 if num_classes is None else (labels >= 0) & (labels < num_classes)
    if ignore_index is not None:
        fits |= labels == ignore_index
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
