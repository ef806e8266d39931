"""The part of a rank in a sharded loss, by Triton kernels."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.families import Family, enter_family
from lossbench.impls.triton.centers import CenterTerm, triton_centers, triton_centers_that_move
from lossbench.impls.triton.differences import triton_differences
from lossbench.impls.triton.loaded import load_kernels
from lossbench.impls.triton.pairwise import triton_distances


def _make() -> Family:
    load_kernels("shards", "centers", "pairwise", "contrastive")
    return Family(_shard_sums, _square_sum, _squared_distances, _pair_sum)


def _shard_sums(
    rows: Tensor, weight: Tensor, places: Tensor, columns: str, shares: Tensor | None
) -> tuple[Tensor, Tensor]:
    wide = None if shares is None else shares.float()
    inputs = rows.contiguous(), weight.contiguous(), places.contiguous(), columns, wide
    sums: tuple[Tensor, Tensor] = _TritonShardSums.apply(*inputs)  # type: ignore[no-untyped-call]
    return sums


def _square_sum(rows: Tensor, centers: Tensor, places: Tensor, moves: bool) -> Tensor:
    if moves:
        return triton_centers_that_move(rows, centers, places, CenterTerm(1.0))[0]
    return triton_centers(rows, centers, places, CenterTerm(1.0))


def _squared_distances(anchors: Tensor, rows: Tensor) -> Tensor:
    return triton_distances(anchors, rows, rooted=False)


def _pair_sum(x0: Tensor, x1: Tensor, same: Tensor, margin: float) -> Tensor:
    similar = same.float().contiguous()
    return len(x0) * triton_differences("contrastive", x0, x1, similar, margin)


class _TritonShardSums(torch.autograd.Function):
    """An operator for each pass; between them two numbers a class and eight a sample are kept."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor, places: Tensor, columns: str, shares: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        logs, spreads, *terms = torch.ops.lossbench_triton.shard_sums.default(
            rows, weight, places, columns, shares
        )
        ctx.save_for_backward(rows, weight, places, shares, *terms)
        return logs, spreads

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor, of_spreads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, places, shares, terms, scales = ctx.saved_tensors
        for_rows, for_weight = ctx.needs_input_grad[:2]
        grad_rows, grad_weight = torch.ops.lossbench_triton.shard_sums_backward.default(
            upstream.contiguous(),
            None if shares is None else of_spreads.contiguous(),
            *(rows, weight, places, shares, terms, scales, for_rows, for_weight),
        )
        grads = grad_rows if for_rows else None, grad_weight if for_weight else None
        return (*grads, None, None, None)


enter_family("triton", _make)
