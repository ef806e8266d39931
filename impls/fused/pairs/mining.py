"""The furthest positive and the closest negative of every row, without all distances at once."""

import torch
from torch import Tensor

from lossbench.impls.fused.pairs.row_blocks import ALIGNMENT, block_rows, row_blocks
from lossbench.impls.labels import without_gaps
from lossbench.impls.products import product


def hardest(x: Tensor, labels: Tensor) -> Tensor:
    """Return the indices ``[2 B]`` of each row's furthest positive, then of its closest negative.

    A row is among its own positives.
    """
    # In compiled code a pass over all pairs is cheap, and a loop over blocks takes minutes to
    # compile.
    at_once = torch.compiler.is_compiling() or block_rows(len(x)) == len(x)
    mine = _hardest_at_once if at_once else _hardest_in_blocks
    return torch.cat(mine(x, labels))


def _hardest_at_once(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    ranks = _ranks(x)
    labels = without_gaps(labels)
    same = labels.unsqueeze(1) == labels
    positive = torch.where(same, ranks, -torch.inf).argmax(1)
    return positive, ranks.masked_fill_(same, torch.inf).argmin(1)


def _ranks(x: Tensor) -> Tensor:
    """Return distances that are comparable within a row, ``[B, B]``.

    ``‖x_i‖²`` is constant in a row and does not change its order, so it is omitted.
    """
    if torch.compiler.is_compiling():
        # Not a diagonal: before torch 2.13 the compiler's argmin is wrong on the CPU where it
        # computes the elements from a strided tensor.
        return product(-x, x.t(), torch.linalg.vecdot(x, x) / 2)
    products = product(x, x.t())
    return torch.sub(products.diagonal(), products, alpha=2)


def _hardest_in_blocks(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mine over the upper triangle: a block serves its rows, and the rows of its later columns."""
    labels, order = labels.sort()
    x = x.index_select(0, order)
    halves = torch.linalg.vecdot(x, x) / 2
    batch = len(x)
    positive, negative = torch.zeros_like(order), torch.zeros_like(order)
    closest = torch.full_like(halves, torch.inf)
    for start, stop, low, high in row_blocks(labels):
        # Half the squared distances.
        ranks = product(-x[start:stop], x[low:].t(), halves[low:])
        ranks += halves[start:stop].unsqueeze(1)
        band = ranks[:, : high - low]
        same = labels[start:stop].unsqueeze(1) == labels[low:high]
        positive[start:stop] = torch.where(same, band, -torch.inf).argmax(1) + low
        band.masked_fill_(same, torch.inf)
        _keep_closer(closest[start:stop], negative[start:stop], *smallest(ranks, 1), low)
        if stop < batch:
            later = smallest(ranks[:, stop - low :], 0)
            _keep_closer(closest[stop:], negative[stop:], *later, start)
        # Freed before the next block is allocated.
        del ranks, band
    original = torch.empty_like(order)
    positive = original.index_copy(0, order, order.index_select(0, positive))
    return positive, original.index_copy_(0, order, order.index_select(0, negative))


def _keep_closer(
    closest: Tensor, index: Tensor, candidate: Tensor, candidate_index: Tensor, offset: int
) -> None:
    closer = candidate < closest
    index.copy_(torch.where(closer, candidate_index + offset, index))
    torch.minimum(closest, candidate, out=closest)


def smallest(block: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the minimum of a matrix along ``dim`` and its index, as ``block.min(dim)`` does.

    Reductions with an index are not vectorised on the CPU. Therefore the minima of groups are
    computed first, and the index is searched for in the best group only.
    """
    size = block.size(dim)
    if size % ALIGNMENT:
        lowest, index = block.min(dim)
        return lowest, index
    step = size // ALIGNMENT
    lowest, group = torch.unflatten(block, dim, (ALIGNMENT, step)).amin(dim).min(dim)
    members = torch.arange(0, size, step, device=block.device).unsqueeze(1 - dim)
    candidates = group.unsqueeze(dim) + members
    member = block.gather(dim, candidates).argmin(dim)
    return lowest, group + member * step
