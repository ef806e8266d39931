"""Collectives with the gradient of one loss that all processes compute together.

Every process computes the same loss, and calls ``backward`` on it with the same factor. So the
gradient of a sum over the processes is the upstream gradient itself; to add up the upstream
gradients of all processes, as ``torch.distributed.nn.all_reduce`` does, would count the loss once a
process. What a process computes from gathered rows is a part of the loss, so the gradient of the
rows is the sum of all processes' parts.
"""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.precision import widened
from lossbench.impls.sharded.meeting import JoinedBatch
from lossbench.impls.sharded.ranks import Ranks


def gather(values: Tensor, batch: JoinedBatch) -> Tensor:
    """Return the values of all processes' samples, ``[B, ...]``, without a gradient.

    Args:
        values: one value or row per sample of this process.
        batch: the sizes of the batches.
    """
    missing = batch.longest - len(values)
    padding = values.new_zeros(missing, *values.shape[1:])
    padded = torch.cat((values, padding)) if missing else values.contiguous()
    gathered = all_gather(padded, batch.ranks)
    if batch.samples == len(gathered):
        return gathered
    return gathered.index_select(0, batch.places(values.device))


def gather_rows(rows: Tensor, batch: JoinedBatch) -> Tensor:
    """Return the rows of all processes' samples, ``[B, D]``, float32 or wider.

    The gradient is the sum of all processes' gradients, times ``Ranks.row_factor``.

    Args:
        rows: the rows of this process.
        batch: the sizes of the batches.
    """
    gathered: Tensor = _GatheredRows.apply(rows, batch)  # type: ignore[no-untyped-call]
    return gathered


def own_rows(rows: Tensor, ranks: Ranks) -> Tensor:
    """Return rows that stay in their process; their gradient is times ``Ranks.row_factor``."""
    if ranks.row_factor == 1:
        return rows
    scaled: Tensor = _ScaledGradient.apply(rows, ranks)  # type: ignore[no-untyped-call]
    return scaled


def total(part: Tensor, ranks: Ranks) -> Tensor:
    """Return the sum of all processes' parts of the loss, elementwise."""
    summed: Tensor = _Total.apply(part, ranks)  # type: ignore[no-untyped-call]
    return summed


def merge(logs: Tensor, terms: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """Return the logarithm of the sum of all processes' exponentials, and the sum of other terms.

    Args:
        logs: the logarithms of this process's sums of exponentials, ``[B]``.
        terms: other terms of this process, ``[B, K]``.
        ranks: the processes.
    """
    merged: tuple[Tensor, Tensor] = _Merged.apply(logs, terms, ranks)  # type: ignore[no-untyped-call]
    return merged


def own_values(values: Tensor, batch: JoinedBatch) -> Tensor:
    """Return the values of this process's samples out of those of all, ``[B]``.

    Each process may have other upstream gradients, so the backward pass gathers them.
    """
    own: Tensor = _OwnValues.apply(values, batch)  # type: ignore[no-untyped-call]
    return own


# The operators themselves: torch 2.13 gave the functions around them other names.
_operators = torch.ops._c10d_functional


def _ended(tensor: Tensor) -> Tensor:
    """Return the result of a collective, once it is there."""
    result: Tensor = _operators.wait_tensor(tensor)
    return result


def all_gather(padded: Tensor, ranks: Ranks) -> Tensor:
    """Return the tensors of all processes, of one shape, one after the other."""
    return _ended(_operators.all_gather_into_tensor(padded, ranks.count, ranks.group.group_name))


def all_reduce(tensor: Tensor, how: str, ranks: Ranks) -> Tensor:
    """Return the ``sum`` or the ``max`` of all processes' tensors, elementwise."""
    return _ended(_operators.all_reduce(tensor.contiguous(), how, ranks.group.group_name))


def reduce_scatter(padded: Tensor, ranks: Ranks) -> Tensor:
    """Return this process's part of the sum of all processes' tensors."""
    given = (padded, "sum", ranks.count, ranks.group.group_name)
    return _ended(_operators.reduce_scatter_tensor(*given))


class _GatheredRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, batch: JoinedBatch) -> Tensor:
        ctx.batch, ctx.dtype = batch, rows.dtype
        return gather(rows, batch).to(widened(rows.dtype))

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ranks, sizes = ctx.batch.ranks, ctx.batch.sizes
        padded = grad.contiguous()
        if ctx.batch.samples < ranks.count * ctx.batch.longest:
            padded = grad.new_zeros(ranks.count * ctx.batch.longest, grad.size(1))
            padded.index_copy_(0, ctx.batch.places(grad.device), grad)
        own = reduce_scatter(padded, ranks)[: sizes[ranks.index]]
        return (own * ranks.row_factor).to(ctx.dtype), None


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return rows.view_as(rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.ranks.row_factor, None


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, part: Tensor, ranks: Ranks) -> Tensor:
        return all_reduce(part, "sum", ranks)

    @staticmethod
    @differentiable_once
    def backward(_ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _Merged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logs: Tensor, terms: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor]:
        # Without any class there is no finite maximum.
        highest = logs.clamp(min=torch.finfo(logs.dtype).min)
        highest = all_reduce(highest, "max", ranks)
        powers = (logs - highest).exp_().unsqueeze(1)
        sums = all_reduce(torch.cat((powers, terms), 1), "sum", ranks)
        merged = highest + sums[:, 0].log()
        ctx.save_for_backward(logs, merged)
        return merged, sums[:, 1:].clone()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor, grad_terms: Tensor) -> tuple[Tensor, Tensor, None]:
        logs, merged = ctx.saved_tensors
        return grad * (logs - merged).exp(), grad_terms, None


class _OwnValues(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, batch: JoinedBatch) -> Tensor:
        ctx.batch = batch
        return values[batch.start : batch.stop].clone()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return gather(grad, ctx.batch), None
