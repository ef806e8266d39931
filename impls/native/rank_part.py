"""The part of a rank in a sharded loss, by native operators."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.families import COLUMNS, Family, enter_family
from lossbench.impls.native.build import problem
from lossbench.impls.native.centers import CenterTerms, native_centers
from lossbench.impls.native.gradients import NativeFunction
from lossbench.impls.native.operators import load
from lossbench.impls.native.pairs import native_contrastive
from lossbench.impls.native.pairwise import native_distances


def _make() -> Family:
    load()
    return Family(_NativeShardSums.apply, _square_sum, _squared_distances, _pair_sum)


def _square_sum(rows: Tensor, centers: Tensor, places: Tensor, moves: bool) -> Tensor:
    return native_centers(rows, centers, places, CenterTerms(1.0), moves=moves)


def _squared_distances(anchors: Tensor, rows: Tensor) -> Tensor:
    return native_distances(anchors, rows, rooted=False)


def _pair_sum(x0: Tensor, x1: Tensor, same: Tensor, margin: float) -> Tensor:
    return len(x0) * native_contrastive(x0, x1, same, margin, whole_batch=False)


class _NativeShardSums(NativeFunction):
    """An operator for each pass; between them one number a class and six a sample are kept."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, places: Tensor, columns: str, shares: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        rule = COLUMNS.index(columns)
        logs, spreads, saved = torch.ops.lossbench_native.shard_sums.default(
            rows, weight, places, shares, rule
        )
        ctx.save_for_backward(rows, weight, places, shares, saved)
        ctx.rule = rule
        return logs, spreads

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor, of_spreads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, places, shares, saved = ctx.saved_tensors
        for_rows, for_weight = ctx.needs_input_grad[:2]
        grad_rows, grad_weight = torch.ops.lossbench_native.shard_sums_backward.default(
            upstream,
            None if shares is None else of_spreads,
            *(rows, weight, places, shares, saved, ctx.rule, for_rows, for_weight),
        )
        grads = grad_rows if for_rows else None, grad_weight if for_weight else None
        return (*grads, None, None, None)


enter_family("native", _make, problem)
