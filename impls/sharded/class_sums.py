"""The log-sum-exp of every sample over one shard of the classes, tile by tile."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.precision import without_autocast
from lossbench.impls.products import add_product, product
from lossbench.impls.scores import max_norm

# The maximum number of a tile's scores and of its weights: 4 MiB in float32.
TILE_ELEMENTS = 2**20
LEAST_TILE_WIDTH = 128

Scaling = Callable[[Tensor], Tensor]


def unit_columns(columns: Tensor) -> Tensor:
    """Return columns ``[D, T]`` of length 1."""
    return F.normalize(columns, dim=0)


SCALINGS: Mapping[str, Scaling | None] = {
    "free": None,
    "unit": unit_columns,
    "max_norm": max_norm,
}
"""The functions from columns ``[D, T]`` to scaled columns, by their names in ``COLUMNS``."""


def tiled_sums(
    rows: Tensor, weight: Tensor, places: Tensor, columns: str, spread: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return ``Family.shard_sums``, also of no class: ``-inf`` and 0.

    Only one tile of the products exists at once: the backward pass computes them again.

    Args:
        rows: the rows of all samples, ``[B, D]``, in the dtype to compute in.
        weight: the shard's class weights, ``[D, C_r]``.
        places: the place of each sample's class in the shard, ``[B]``; -1 if it is elsewhere.
        columns: the name of the rule that scales the columns.
        spread: the share ``s`` of each class in the second sum, ``[C_r]``; ``None`` for 0.
    """
    inputs = (rows, weight, places, SCALINGS[columns], spread)
    sums: tuple[Tensor, Tensor] = _ShardSums.apply(*inputs)  # type: ignore[no-untyped-call]
    return sums


class _ClassTile:
    """The classes ``start:stop`` of a shard, and the targets that are among them."""

    def __init__(self, start: int, stop: int, weight: Tensor, places: Tensor) -> None:
        self.classes = slice(start, stop)
        self.weight = weight[:, self.classes]
        self.inside = ((places >= start) & (places < stop)).unsqueeze(1)
        self.column = (places - start).clamp(0, stop - start - 1).unsqueeze(1)

    def without_targets(self, scores: Tensor, value: float) -> Tensor:
        """Return ``scores [B, T]`` with a value in the place of the targets; overwrites them."""
        others = scores.gather(1, self.column).masked_fill_(self.inside, value)
        return scores.scatter_(1, self.column, others)


def _tiles(rows: Tensor, weight: Tensor, places: Tensor) -> Iterator[_ClassTile]:
    width = max(LEAST_TILE_WIDTH, TILE_ELEMENTS // max(1, *rows.shape))
    classes = weight.size(1)
    for start in range(0, classes, width):
        yield _ClassTile(start, min(start + width, classes), weight, places)


class _ShardSums(torch.autograd.Function):
    @staticmethod
    @without_autocast
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor,
        places: Tensor,
        scaling: Scaling | None,
        spread: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        least = torch.finfo(rows.dtype).min
        highest, amount = rows.new_full((len(rows),), least), rows.new_zeros(len(rows))
        spreads = torch.zeros_like(amount)
        for tile in _tiles(rows, weight, places):
            columns = tile.weight.to(rows.dtype)
            scores = product(rows, columns if scaling is None else scaling(columns))
            if spread is not None:
                tile.without_targets(scores, 0)
                spreads += scores @ spread[tile.classes]
            # Not -inf: a tile may have nothing but the target.
            tile.without_targets(scores, least)
            top = torch.maximum(highest, scores.amax(1))
            scores.sub_(top.unsqueeze(1)).exp_()
            amount = amount * (highest - top).exp_() + scores.sum(1)
            highest = top
        logs = highest + amount.log()
        ctx.scaling = scaling
        ctx.save_for_backward(rows, weight, places, spread, logs)
        return logs, spreads

    @staticmethod
    @differentiable_once
    @without_autocast
    def backward(ctx: Any, grad: Tensor, grad_spreads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, places, spread, logs = ctx.saved_tensors
        grad_rows = torch.zeros_like(rows) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for tile in _tiles(rows, weight, places):
            columns, pull_back = _scaled(tile.weight.to(rows.dtype), ctx.scaling)
            scores = product(rows, columns)
            pulls = scores.sub_(logs.unsqueeze(1)).exp_().mul_(grad.unsqueeze(1))
            if spread is not None:
                pulls.addr_(grad_spreads, spread[tile.classes])
            tile.without_targets(pulls, 0)
            if grad_rows is not None:
                add_product(grad_rows, pulls, columns.t())
            if grad_weight is not None:
                grad_weight[:, tile.classes] = pull_back(product(rows.t(), pulls))
        return grad_rows, grad_weight, None, None, None


def _scaled(columns: Tensor, scaling: Scaling | None) -> tuple[Tensor, Scaling]:
    """Return scaled columns, and a function from their gradient to that of the columns."""
    if scaling is None:
        return columns, lambda grad: grad
    with torch.enable_grad():
        leaf = columns.detach().requires_grad_()
        scaled = scaling(leaf)

    def pull_back(grad: Tensor) -> Tensor:
        return torch.autograd.grad(scaled, leaf, grad)[0]

    return scaled.detach(), pull_back
