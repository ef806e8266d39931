"""Cross-entropy over a linear layer with its columns in shards.

Every process has the rows of all processes, and the products with its own classes. Two or three
numbers a sample are joined over the processes: the log-sum-exp of the other classes, the target's
logit, which the process with its class computes, and the sum for label smoothing.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.impls.catalogue import EntropyOptions, LossAndLogits
from lossbench.impls.families import Family
from lossbench.impls.formulas import soft_margin
from lossbench.impls.precision import widened
from lossbench.impls.sharded.collectives import merge, own_values
from lossbench.impls.sharded.rank_part import sums_over_shard
from lossbench.impls.sharded.samples import JoinedSamples
from lossbench.impls.sharded.shards import Sharded, own_places, own_shard


def unit_rows(embeddings: Tensor, scale: float = 1) -> Tensor:
    """Return ``s x_i / ‖x_i‖``, ``[B, D]``, in float32 or wider."""
    return scale * F.normalize(embeddings.to(widened(embeddings.dtype)))


def row_products(rows: Tensor, columns: Tensor) -> Tensor:
    """Return the products of ``rows [N, D]`` and as many ``columns [N, D]``, ``[N]``."""
    return (rows * columns).sum(1)


@dataclass(frozen=True)
class ShardRule:
    """How a loss turns rows and class weights into logits.

    Attributes:
        columns: the name of the rule that scales the columns, one of ``COLUMNS``.
        target: a function from rows ``[N, D]`` and their targets' columns ``[N, D]``, in float64,
            to the targets' logits ``[N]``.
        gamma: the power of the focal factor ``(1 - p)^γ``, which has no gradient.
    """

    columns: str = "free"
    target: Callable[[Tensor, Tensor], Tensor] = row_products
    gamma: float = 0


def sharded_cross_entropy(
    samples: JoinedSamples,
    weight: Tensor,
    rule: ShardRule,
    options: EntropyOptions,
    kernels: Family,
) -> Tensor:
    """Return the loss of all processes' samples, the same in every process.

    A ``reduction`` of ``none`` gives the losses of this process's samples.

    Args:
        samples: the rows and labels of all processes.
        weight: the class weights ``[D, C]``, sharded.
        rule: the rule that makes the logits.
        options: the options of ``F.cross_entropy``.
        kernels: the kernels for this process's shard.
    """
    rows, labels, batch = samples
    num_classes, ranks, shard = weight.size(1), batch.ranks, own_shard(weight)
    samples.refuse_strays(num_classes, options.ignore_index)
    rows = rows.to(widened(torch.promote_types(rows.dtype, shard.dtype)))
    places = own_places(options.targets(labels), num_classes, ranks)
    shares = _shares(options, num_classes, rows)
    spread = None if shares is None else shares[slice(*ranks.own_classes(num_classes))]
    others, spreads = sums_over_shard(kernels, rows, shard, places, rule.columns, spread)
    terms = [_targets(rows, shard, places, rule), spreads]
    others, joined = merge(others, torch.stack(terms[: 1 if spread is None else 2], 1), ranks)
    losses = _losses(others, joined, labels, shares, options)
    if rule.gamma:
        miss = 1 - soft_margin(others - joined[:, 0]).detach().neg().exp()
        losses = losses * miss**rule.gamma
    if options.reduction == "none":
        return own_values(losses, batch)
    return options.reduce(losses, labels)


def _shares(options: EntropyOptions, num_classes: int, rows: Tensor) -> Tensor | None:
    """Return the share of each class in the smoothing, ``[C]``; ``None`` without smoothing."""
    if not options.label_smoothing:
        return None
    share, weights = options.label_smoothing / num_classes, options.class_weights
    return rows.new_full((num_classes,), share) if weights is None else weights.to(rows) * share


def _targets(rows: Tensor, shard: Tensor, places: Tensor, rule: ShardRule) -> Tensor:
    """Return the logits of the targets that are in this shard, and 0 of the others, ``[B]``."""
    own = (places >= 0).nonzero().squeeze(1)
    columns = shard.index_select(1, places.index_select(0, own)).t()
    # A margin's slope is steep at a cosine of ±1.
    logits = rule.target(rows.index_select(0, own).double(), columns.double())
    return rows.new_zeros(len(rows)).index_copy(0, own, logits.to(rows.dtype))


def _losses(
    others: Tensor, joined: Tensor, labels: Tensor, shares: Tensor | None, options: EntropyOptions
) -> Tensor:
    """Return the losses of all samples, ``[B]``.

    Args:
        others: the log-sum-exp of all classes but the target, ``[B]``.
        joined: the target's logit and, with smoothing, the other classes' sum for it, ``[B, 1]`` or
            ``[B, 2]``.
        labels: the labels ``[B]``.
        shares: the share of each class in the smoothing, ``[C]``; ``None`` without.
        options: the options of ``F.cross_entropy``.
    """
    target = joined[:, 0]
    surprise = soft_margin(others - target)
    losses = options.weigh(surprise, labels)
    if shares is None:
        return losses
    kept = options.kept(labels)
    of_target = shares.index_select(0, options.targets(labels)) * target
    smooth = shares.sum() * (target + surprise) - of_target - joined[:, 1]
    smooth = smooth if kept is None else smooth.masked_fill(~kept, 0)
    return (1 - options.label_smoothing) * losses + smooth


class ShardedWeights(Sharded):
    """A base class of the losses with class weights."""

    options: EntropyOptions
    weight: nn.Parameter

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the logits of ``embeddings [N, D]`` without labels, ``[N, C]``, for inference.

        Every process must call this: it gathers all weights, which get no gradient from it.
        """
        whole = copy(self)
        gathered: Any = self.weight.detach()
        whole._parameters = {**self._parameters, "weight": gathered.full_tensor()}
        logits: Tensor = super(ShardedWeights, whole).logits(embeddings)  # type: ignore[misc]
        return logits


class ShardedHead(ShardedWeights):
    """A base class of the losses that are a cross-entropy and no more."""

    def _cross_entropy(self, rows: Tensor, labels: Tensor, rule: ShardRule) -> LossAndLogits:
        batch = self._meet(rows)
        samples = JoinedSamples.of(rows, labels, batch)
        given = (samples, self.weight, rule, self.options, self.kernels)
        return LossAndLogits(sharded_cross_entropy(*given), None)
