"""What a rank computes of its own: by the tiles of this package, or by another family's kernels."""

import torch
from torch import Tensor

from lossbench.impls.class_rows import class_rows
from lossbench.impls.families import Family, enter_family
from lossbench.impls.precision import widened
from lossbench.impls.sharded.class_sums import tiled_sums


def sums_over_shard(
    kernels: Family,
    rows: Tensor,
    weight: Tensor,
    places: Tensor,
    columns: str,
    shares: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return ``Family.shard_sums``; a shard without classes gives ``-inf`` and 0."""
    able = kernels if weight.size(1) else FUSED
    return able.shard_sums(rows, weight, places, columns, shares)


def square_sum(
    kernels: Family, rows: Tensor, centers: Tensor, places: Tensor, *, moves: bool
) -> Tensor:
    """Return ``Family.square_sum``; no rows give 0."""
    able = kernels if len(rows) else FUSED
    return able.square_sum(rows, centers, places, moves)


def pair_sum(kernels: Family, x0: Tensor, x1: Tensor, same: Tensor, margin: float) -> Tensor:
    """Return ``Family.pair_sum``; no pairs give 0."""
    able = kernels if len(x0) else FUSED
    return able.pair_sum(x0, x1, same, margin)


def differences(rows: Tensor, centers: Tensor, places: Tensor) -> Tensor:
    """Return the rows minus their centres, ``[N, D]``."""
    return rows - class_rows(centers, places).to(widened(centers.dtype))


def _square_sum(rows: Tensor, centers: Tensor, places: Tensor, _moves: bool) -> Tensor:
    # The differences are what autograd keeps, so that the centres may move.
    return differences(rows, centers, places).square().sum()


def _squared_distances(anchors: Tensor, rows: Tensor) -> Tensor:
    lengths = torch.linalg.vecdot(anchors, anchors).unsqueeze(1)
    squared: Tensor = lengths + torch.linalg.vecdot(rows, rows) - 2 * anchors @ rows.t()
    return squared


def _pair_sum(x0: Tensor, x1: Tensor, same: Tensor, margin: float) -> Tensor:
    distance = torch.linalg.vector_norm(x0 - x1, dim=1)
    shortfall = (margin - distance).clamp(min=0)
    losses: Tensor = same * distance.square() + (1 - same) * shortfall.square()
    return losses.sum() / 2


FUSED = Family(tiled_sums, _square_sum, _squared_distances, _pair_sum)
enter_family("fused", lambda: FUSED)
