"""Cross-entropy over a linear layer, class tile by class tile.

Scores are in units of log 2, because torch's ``exp2`` is several times as fast as its ``exp`` on
the CPU, also if the result underflows.

For a batch of symbolic size the compiler needs more than five minutes for the loop over tiles.
Therefore compiled code computes all logits at once. That needs the memory of the logits, and at
some thousand classes it is often faster.
"""

from typing import Any

import torch
from torch import Tensor

from lossbench.impls.catalogue import EntropyOptions
from lossbench.impls.differentiable import differentiable_once, returns_new_tensor
from lossbench.impls.formulas import LN_2
from lossbench.impls.fused.cross_entropy.class_tiles import TILE_ELEMENTS, ClassTiles, Tile
from lossbench.impls.fused.cross_entropy.dense import dense_cross_entropy
from lossbench.impls.fused.cross_entropy.head import Columns, Head, Rows, Target
from lossbench.impls.fused.cross_entropy.sample_terms import SampleTerms, Sum
from lossbench.impls.labels import refuse_strays
from lossbench.impls.precision import widened, without_autocast
from lossbench.impls.products import add_product, product

# Up to this number of logits and of weights, one tile's, a few operators on all are fastest.
DENSE_ELEMENTS = TILE_ELEMENTS


def fused_cross_entropy(
    embeddings: Tensor, weight: Tensor, labels: Tensor, head: Head, options: EntropyOptions
) -> Tensor:
    """Return the loss of ``embeddings [B, D]`` against the classes of ``weight [D, C]``, reduced.

    Both passes iterate over the class tiles. The forward pass saves ``O(B + C)`` beside its inputs
    and the scores of the first tiles; the backward pass computes the other scores again, and all
    gradients. All logits are computed at once if there are few, in compiled code, and for label
    smoothing, because its gradient needs every logit.
    """
    dim, classes = weight.shape
    if (
        torch.compiler.is_compiling()
        or options.label_smoothing
        or max(len(labels), dim) * classes <= DENSE_ELEMENTS
    ):
        return dense_cross_entropy(embeddings, weight, labels, head, options)
    inputs = (embeddings, weight, labels, head, options)
    loss: Tensor = _CrossEntropy.apply(*inputs)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    @returns_new_tensor
    @without_autocast
    def forward(
        ctx: Any,
        embeddings: Tensor,
        weight: Tensor,
        labels: Tensor,
        head: Head,
        options: EntropyOptions,
    ) -> Tensor:
        dtype = widened(torch.promote_types(embeddings.dtype, weight.dtype))
        rows, labels = Rows.of(embeddings, dtype, head), labels.long()
        targets = options.targets(labels)
        refuse_strays(targets, weight)
        tiles = ClassTiles(weight, targets, dtype)
        kept = tiles.kept if any(ctx.needs_input_grad) else 0
        parts, powers, score, lengths = _sums_of_others(rows, tiles, head, kept)
        target = Target.of(rows, weight, targets, head)
        losses, samples = SampleTerms.of(Sum.of(parts), score, target, head)
        ctx.head, ctx.dtype, ctx.reduction = head, dtype, options.reduction
        shares = _shares(labels, dtype, options)
        shifts = [part.highest for part in parts[: len(powers)]]
        saved = (lengths, shares, *samples, *shifts, *powers)
        ctx.save_for_backward(embeddings, weight, targets, *saved)
        if shares is not None or options.reduction == "none":
            losses = options.weigh(losses.squeeze(1), labels)
        return options.reduce(losses, labels)

    @staticmethod
    @differentiable_once
    @without_autocast
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        embeddings, weight, labels, lengths, shares, *saved = ctx.saved_tensors
        samples, kept = SampleTerms(*saved[:5]), saved[5:]
        rows = Rows.of(embeddings, ctx.dtype, ctx.head)
        share = grad_loss.to(ctx.dtype)
        if ctx.reduction == "none":
            share = share.unsqueeze(1)
        if shares is not None:
            share = shares * share
        elif ctx.reduction == "mean":
            share = share / len(labels)
        if samples.focus is not None:
            share = samples.focus * share
        tiles = ClassTiles(weight, labels, ctx.dtype)
        half = len(kept) // 2
        sums = [Sum(*part) for part in zip(kept[:half], kept[half:], strict=True)]
        scores = _Scores(rows, samples, sums, bounded=ctx.head.bounded)
        gradients = _Gradients(rows, tiles, share / samples.amount, ctx.needs_input_grad)
        rules = None if lengths is None else ctx.head.columns(lengths)
        for index, tile in enumerate(tiles):
            rule = None if rules is None else rules.of(tile.start, tile.stop)
            columns = tiles.columns(tile, None if rule is None else rule.scale)
            gradients.add(tile, scores.of(index, tile, columns), columns, rule)
        grad_rows = gradients.rows
        if grad_rows is not None:
            stretch = None if samples.stretch is None else samples.stretch * share
            grad_rows = rows.grad(grad_rows.mul_(share / samples.amount), stretch)
            grad_rows = grad_rows.to(embeddings.dtype)
        return grad_rows, gradients.weight, None, None, None


def _shares(labels: Tensor, dtype: torch.dtype, options: EntropyOptions) -> Tensor | None:
    """Return the derivative of the loss by each sample's, ``[B, 1]``; ``None`` if all are alike."""
    weights, kept = options.sample_weights(labels, dtype), options.kept(labels)
    if weights is None:
        return None
    if options.reduction == "mean":
        weights = weights / weights.sum()
        # Where all are left out the mean is NaN, and as in F.cross_entropy their gradient is 0.
        weights = weights if kept is None else weights.masked_fill(~kept, 0)
    return weights.unsqueeze(1)


def _sums_of_others(
    rows: Rows, tiles: ClassTiles, head: Head, kept: int
) -> tuple[list[Sum], list[Tensor], Tensor, Tensor | None]:
    """Return each tile's sum without the target, and other terms of the losses and gradients.

    These are the powers of two of the first ``kept`` tiles, the target's score, and the columns'
    lengths.

    A target subtracted later would cancel digits if it dominates, so it is never added.
    """
    factors = rows.scaled / LN_2
    target = factors.new_zeros(len(factors), 1)
    least = torch.finfo(factors.dtype).min
    parts, lengths = [], []
    powers: list[Tensor] = []
    for tile in tiles:
        scale = None
        if head.columns is not None:
            lengths.append(tiles.lengths(tile))
            scale = head.columns(lengths[-1]).scale
        scores = product(factors, tiles.columns(tile, scale))
        picked = scores.gather(1, tile.column)
        target = torch.where(tile.inside, picked, target)
        scores.scatter_(1, tile.column, picked.masked_fill_(tile.inside, least))
        parts.append(Sum.over(scores, bounded=head.bounded))
        if len(powers) < kept:
            powers.append(scores)
    return parts, powers, target, torch.cat(lengths) if lengths else None


class _Scores:
    """The derivatives of the losses by the products, times each sample's ``amount``.

    Args:
        rows: the embeddings.
        samples: the terms that the forward pass computed.
        kept: the highest score and the powers before their sum, for each of the first tiles.
        bounded: true if the highest score was not subtracted before the powers.
    """

    def __init__(self, rows: Rows, samples: SampleTerms, kept: list[Sum], *, bounded: bool) -> None:
        self.top, self.kept, self.bounded = samples.top, kept, bounded
        self.factors = rows.scaled / LN_2
        self.pulls = samples.pull * samples.amount

    def of(self, index: int, tile: Tile, columns: Tensor) -> Tensor:
        """Return the derivatives of a tile, ``[B, T]``, from saved powers or from a product."""
        if index < len(self.kept):
            highest, powers = self.kept[index]
            # Changed in place, hidden from autograd: another backward pass writes the same values.
            scores = powers.data if self.bounded else powers * (highest - self.top).exp2_()
        else:
            scores = product(self.factors, columns)
            if not self.bounded:
                # Subtracted after the product, as in the forward pass, to lose the same digits.
                scores.sub_(self.top)
            scores.exp2_()
        pulls = torch.where(tile.inside, self.pulls, scores.gather(1, tile.column))
        return scores.scatter_(1, tile.column, pulls)


class _Gradients:
    """The required gradients, summed tile by tile.

    Attributes:
        rows: the gradient of the scaled rows before each sample's share, ``[B, D]``.
        weight: the gradient ``[D, C]``, in the weight's dtype.
    """

    def __init__(
        self, rows: Rows, tiles: ClassTiles, share: Tensor, needed: tuple[bool, ...]
    ) -> None:
        self.tiles = tiles
        self.rows = torch.zeros_like(rows.given) if needed[0] else None
        self.weight = torch.empty_like(tiles.weight) if needed[1] else None
        self.factors = (rows.scaled * share).t().contiguous()

    def add(self, tile: Tile, scores: Tensor, columns: Tensor, rule: Columns | None) -> None:
        """Add a tile's part, from its derivatives ``scores [B, T]`` and its ``columns [D, T]``."""
        if self.rows is not None:
            add_product(self.rows, scores, columns.t())
        if self.weight is None:
            return
        grad = product(self.factors, scores)
        part = self.weight[:, tile.start : tile.stop]
        if rule is None:
            part.copy_(grad)
        else:
            rule.grad(grad, columns, self.tiles.buffer("products", tile), part)
