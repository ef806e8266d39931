"""The anchors of this process against all samples, a block of anchors at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lossbench.impls.families import Family
from lossbench.impls.formulas import LEAST_SQUARED_DISTANCE
from lossbench.impls.sharded.collectives import total
from lossbench.impls.sharded.meeting import JoinedBatch

# The maximum number of a block's distances: 2 MiB in float32.
BLOCK_ELEMENTS = 2**19


def anchor_blocks(batch: JoinedBatch) -> Iterator[slice]:
    """Yield the places of this process's samples in the joined batch, block by block."""
    rows = max(32, BLOCK_ELEMENTS // batch.samples)
    for start in range(batch.start, batch.stop, rows):
        yield slice(start, min(start + rows, batch.stop))


def squared_distances(kernels: Family, rows: Tensor, block: slice) -> Tensor:
    """Return the squared distances of a block's anchors to all rows, ``[N, B]``, expanded.

    That of an anchor to itself would be a rounding error, so it is the least that is not clamped.
    """
    squared = kernels.squared_distances(rows[block], rows)
    places = torch.arange(block.start, block.stop, device=rows.device).unsqueeze(1)
    itself = places == torch.arange(len(rows), device=rows.device)
    measured: Tensor = squared.masked_fill(itself, LEAST_SQUARED_DISTANCE)
    return measured


def mean_over_anchors(
    parts: list[Tensor], correct: list[Tensor], batch: JoinedBatch
) -> tuple[Tensor, Tensor]:
    """Return the mean of all processes' anchors, and the number of correct ones.

    Args:
        parts: the sum of the losses of each block, 0-d.
        correct: the number of correct anchors of each block, 0-d.
        batch: the sizes of the batches.
    """
    loss = torch.stack(parts).sum() / batch.samples
    # float64 counts beyond any batch.
    both = torch.stack((loss.double(), torch.stack(correct).sum().double()))
    joined = total(both, batch.ranks)
    return joined[0].to(loss.dtype), joined[1].detach().long()
