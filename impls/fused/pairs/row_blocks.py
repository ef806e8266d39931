"""Blocks of rows sorted by class: the positives of a block lie in a narrow band of columns."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# The elements of a block of distances: a few such blocks stay in the caches.
BLOCK_ELEMENTS = 2**19
# Some reductions process columns in groups, so bands begin at multiples of this.
ALIGNMENT = 16


class RowBlock(NamedTuple):
    """Rows ``start:stop``; all samples of their classes are in the columns ``low:high``."""

    start: int
    stop: int
    low: int
    high: int


def block_rows(batch: int) -> int:
    """Return the number of rows of a block: all rows of a small batch, else a power of two."""
    if batch <= 256:
        return batch
    rows = 256
    while rows > 32 and rows * batch > BLOCK_ELEMENTS:
        rows //= 2
    return rows


def has_bands(labels: Tensor) -> bool:
    """Return whether the ``row_blocks`` of ``labels [B]``, once sorted, have bands narrower than B.

    Reading their ends would wait for the device, so there are bands on the CPU only.
    """
    return labels.is_cpu and block_rows(len(labels)) < len(labels)


def row_blocks(sorted_labels: Tensor) -> Iterator[RowBlock]:
    """Cut rows of ``sorted_labels [B]`` into blocks; a band may be all columns."""
    batch = len(sorted_labels)
    rows = block_rows(batch)
    starts = list(range(0, batch, rows))
    stops = [min(start + rows, batch) for start in starts]
    lows, highs = [0] * len(starts), [batch] * len(starts)
    if has_bands(sorted_labels):
        last = torch.tensor(stops) - 1
        lows = torch.searchsorted(sorted_labels, sorted_labels[::rows].contiguous()).tolist()
        highs = torch.searchsorted(sorted_labels, sorted_labels[last], right=True).tolist()
    for start, stop, low, high in zip(starts, stops, lows, highs, strict=True):
        yield RowBlock(start, stop, low - low % ALIGNMENT, high)
