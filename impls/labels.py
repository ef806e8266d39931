"""Cross-entropy and checks that refuse every label that is not a class."""

import torch
from torch import Tensor

from lossbench.impls.torch_release import running_release

# The first release of torch whose compiler finds the right index of an extreme element on the CPU
# where it computes the elements from a strided tensor.
INDEXES_STRIDED = (2, 13)
KEEPS_GAPS = running_release() >= INDEXES_STRIDED


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


def without_gaps(labels: Tensor) -> Tensor:
    """Return ``labels [B]`` for compiled code that searches for the index of an extreme element.

    Compiled code of torch 2.11 and 2.12 gets them without gaps in memory: it would give wrong
    indices for strided labels, in silence. Anywhere else the labels are returned as they are.
    """
    if KEEPS_GAPS or not torch.compiler.is_compiling():
        return labels
    # The compiler does not compute through a scatter, but reads through every other copy.
    # `len` would make the batch's size a constant of an exported program.
    batch = labels.size(0)
    rows = torch.arange(batch, device=labels.device)
    return labels.new_zeros(batch).scatter_(0, rows, labels)
