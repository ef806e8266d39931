"""The operators of the sums over a shard of the classes, forward and backward."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import triton_op

from lossbench.impls.triton.kernels.entropy import launch_backward, launch_scales, launch_sums
from lossbench.impls.triton.kernels.entropy_forward import LOWEST, add_splits
from lossbench.impls.triton.kernels.entropy_terms import (
    FACTOR,
    HIGHEST,
    LN_2,
    SHARE,
    TERMS,
    store_term,
)
from lossbench.impls.triton.kernels.launching import ROW_TILE, launch


@triton.jit
def finish_sums(
    sums,
    terms,
    logs,
    spreads,
    batch,
    splits,
    SPREAD: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Add the splits: write the log-sum-exp, the spread, and the terms of the gradient."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = rows < batch
    highest, amount, spread = add_splits(sums, rows, batch, splits, SPREAD, BLOCK_M)
    store_term(terms, HIGHEST, rows, batch, highest)
    # A shard may have nothing but the target.
    alone = amount == 0
    share = 1 / tl.where(alone, 1.0, amount)
    store_term(terms, SHARE, rows, batch, tl.where(alone, 0.0, share))
    whole = (highest + tl.log2(tl.where(alone, 1.0, amount))) * LN_2
    tl.store(logs + rows, tl.where(alone, LOWEST, whole), mask=inside)
    if SPREAD:
        tl.store(spreads + rows, spread * LN_2, mask=inside)


@triton_op("lossbench_triton::shard_sums", mutates_args=())
def shard_sums(
    rows: Tensor, weight: Tensor, places: Tensor, columns: str, shares: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the sums that ``Family.shard_sums`` says, and the terms of the rows and the columns.

    Args:
        rows: the rows, ``[B, D]``, contiguous.
        weight: the shard, ``[D, C_r]``, contiguous.
        places: the place of each sample's class, ``[B]``; -1 if it is elsewhere.
        columns: the rule that scales the columns: ``free``, ``unit`` or ``max_norm``.
        shares: the shares of the classes in the second sum, ``[C_r]``; ``None`` for no such sum.
    """
    batch, spread = rows.size(0), shares is not None
    # The target has no slope here, and no probability.
    terms = rows.new_zeros((TERMS, batch), dtype=torch.float32)
    terms[FACTOR.value].fill_(1)
    scales = launch_scales(weight, columns)
    sums = launch_sums(rows, weight, places, shares, terms, scales)
    logs = rows.new_empty(batch, dtype=torch.float32)
    spreads = rows.new_empty(batch if spread else 0, dtype=torch.float32)
    launch(
        finish_sums, (triton.cdiv(batch, ROW_TILE),),
        sums, terms, logs, spreads, batch, sums.size(0), SPREAD=spread, BLOCK_M=ROW_TILE,
    )  # fmt: skip
    return logs, spreads, terms, scales


@triton_op("lossbench_triton::shard_sums_backward", mutates_args=())
def shard_sums_backward(
    upstream: Tensor,
    spread_upstream: Tensor | None,
    rows: Tensor,
    weight: Tensor,
    places: Tensor,
    shares: Tensor | None,
    terms: Tensor,
    scales: Tensor,
    for_rows: bool,
    for_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the rows and of the shard; one that is not wanted is empty.

    Args:
        upstream: the derivatives by the logarithms, ``[B]``, contiguous.
        spread_upstream: the derivatives by the second sums, ``[B]``, contiguous.
        rows: the rows, ``[B, D]``.
        weight: the shard, ``[D, C_r]``.
        places: the place of each sample's class, ``[B]``; -1 if it is elsewhere.
        shares: the shares of the classes in the second sum, ``[C_r]``.
        terms: the terms of the rows.
        scales: the terms of the columns.
        for_rows: whether the gradient of the rows is wanted.
        for_weight: whether the gradient of the shard is wanted.
    """
    # The kernels subtract what they call a spread, and add its total weight to the losses.
    negated = None if spread_upstream is None else -spread_upstream
    total = None if shares is None else shares.new_zeros(1)
    given = (upstream, negated, rows, weight, places, shares, total, terms, scales)
    return launch_backward(*given, "free", for_x=for_rows, for_weight=for_weight)
