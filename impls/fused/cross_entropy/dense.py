"""All logits at once: torch's cross-entropy over products with our own backward pass."""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import EntropyOptions
from lossbench.impls.differentiable import differentiable_once, returns_new_tensor
from lossbench.impls.fused.cross_entropy.head import Columns, Head, Rows, Target
from lossbench.impls.precision import widened, without_autocast
from lossbench.impls.products import product


def dense_cross_entropy(
    embeddings: Tensor, weight: Tensor, labels: Tensor, head: Head, options: EntropyOptions
) -> Tensor:
    """Return the loss of ``embeddings [B, D]`` against the classes of ``weight [D, C]``."""
    labels = labels.long()
    if head.columns is None:
        logits: Tensor = _Products.apply(embeddings, weight)  # type: ignore[no-untyped-call]
    else:
        # A margin on a sample that is left out goes nowhere: its logits have no gradient.
        targets = options.targets(labels)
        logits = _Logits.apply(embeddings, weight, targets, head)  # type: ignore[no-untyped-call]
    return options.cross_entropy(logits, labels, head.gamma)


class _Products(torch.autograd.Function):
    """The logits of a Head that scales neither rows nor columns."""

    @staticmethod
    @returns_new_tensor
    @without_autocast
    def forward(ctx: Any, embeddings: Tensor, weight: Tensor) -> Tensor:
        ctx.dtype = widened(torch.promote_types(embeddings.dtype, weight.dtype))
        ctx.save_for_backward(embeddings, weight)
        return product(embeddings.to(ctx.dtype), weight.to(ctx.dtype))

    @staticmethod
    @differentiable_once
    @without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        embeddings, weight = ctx.saved_tensors
        grad_rows = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_rows = product(grad, weight.to(ctx.dtype).t()).to(embeddings.dtype)
        if ctx.needs_input_grad[1]:
            grad_weight = product(embeddings.to(ctx.dtype).t(), grad).to(weight.dtype)
        return grad_rows, grad_weight


class _Logits(torch.autograd.Function):
    @staticmethod
    @returns_new_tensor
    @without_autocast
    def forward(ctx: Any, embeddings: Tensor, weight: Tensor, labels: Tensor, head: Head) -> Tensor:
        dtype = widened(torch.promote_types(embeddings.dtype, weight.dtype))
        rows, columns = Rows.of(embeddings, dtype, head), weight.to(dtype)
        assert head.columns is not None
        rule = head.columns(torch.linalg.vector_norm(columns, dim=0))
        columns = columns * rule.scale
        logits = product(rows.scaled, columns)
        slope = stretch = None
        target = Target.of(rows, weight, labels, head)
        if target is not None:
            logits.scatter_(1, labels.unsqueeze(1), target.logit)
            slope, stretch = target.slope, target.stretch
        ctx.head, ctx.dtype = head, dtype
        saved = (rows.scaled, rows.lengths, rows.factor, columns, *rule, slope, stretch)
        ctx.save_for_backward(embeddings, weight, labels, *saved)
        return logits

    @staticmethod
    @differentiable_once
    @without_autocast
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        embeddings, weight, labels, *saved = ctx.saved_tensors
        scaled, lengths, factor, columns, *rule, slope, stretch = saved
        if slope is not None:
            at = labels.unsqueeze(1)
            pull = grad.gather(1, at)
            grad = grad.scatter(1, at, pull * slope)
            stretch = None if stretch is None else pull * stretch
        grad_rows = grad_weight = None
        if ctx.needs_input_grad[0]:
            rows = Rows(embeddings.to(ctx.dtype), scaled, lengths, factor, ctx.head.scale)
            grad_rows = rows.grad(product(grad, columns.t()), stretch).to(embeddings.dtype)
        if ctx.needs_input_grad[1]:
            grad_scaled = product(scaled.t(), grad)
            grad_weight = Columns(*rule).grad(grad_scaled, columns).to(weight.dtype)
        return grad_rows, grad_weight, None, None
