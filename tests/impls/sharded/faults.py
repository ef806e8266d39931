"""Faults of sharded and gathered losses that public issues describe, planted one at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from lossbench.impls.sharded import collectives, cross_entropy, samples
from lossbench.impls.sharded.meeting import JoinedBatch
from lossbench.impls.sharded.ranks import Ranks
from tests.impls.sharded.cases import CASES, ShardCase

CASE_OF = {str(case): case for case in CASES}


@dataclass(frozen=True)
class Fault:
    """A fault, and the cases that are run with it.

    Attributes:
        name: what is wrong, in words.
        plant: a function that returns the context in which it is wrong.
        cases: the cases by their text; the fault must be found in one of them.
    """

    name: str
    plant: Callable[[], Any]
    cases: tuple[str, ...]

    @property
    def tried(self) -> list[ShardCase]:
        """The cases."""
        return [CASE_OF[text] for text in self.cases]


def _instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return a function that plants, in the place of an attribute, what is made of it."""
    original = getattr(owner, name)
    return lambda: patch.object(owner, name, make(original))


def _row_factor(factor: Callable[[int], float]) -> Callable[[], Any]:
    return lambda: patch.object(Ranks, "row_factor", property(lambda self: factor(self.count)))


def _own_gradient_alone(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return grad[ctx.batch.start : ctx.batch.stop].clone(), None


def _upstream_summed(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return collectives.all_reduce(grad, "sum", ctx.ranks), None


def _keeping_ranks(ctx: Any, part: Tensor, ranks: Ranks) -> Tensor:
    ctx.ranks = ranks
    return collectives.all_reduce(part, "sum", ranks)


def _summing_backward() -> Any:
    forward, backward = staticmethod(_keeping_ranks), staticmethod(_upstream_summed)
    return patch.multiple(collectives._Total, forward=forward, backward=backward)


def _without_terms(original: Any) -> Any:
    def backward(ctx: Any, grad: Tensor, grad_terms: Tensor) -> Any:
        return original(ctx, grad, torch.zeros_like(grad_terms))

    return staticmethod(backward)


def _one_upstream(_ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return torch.ones_like(grad), None


def _smoothing_everywhere(original: Any) -> Any:
    def sums(*inputs: Any) -> tuple[Tensor, Tensor]:
        logs, spreads = original(*inputs)
        return logs, 3 * spreads

    return sums


def _clamped(original: Any) -> Any:
    return lambda gap: -original(gap).neg().exp().clamp(min=1e-7).log()


@contextmanager
def _frozen_batch() -> Iterator[None]:
    known: list[int] = []

    def samples_of_first(self: JoinedBatch) -> int:
        known.append(sum(self.sizes))
        return known[0]

    with patch.object(JoinedBatch, "samples", property(samples_of_first)):
        yield


def _twice(original: Any) -> Any:
    def gather_rows(rows: Tensor, batch: JoinedBatch) -> Tensor:
        original(rows.detach(), batch)
        return original(rows, batch)

    return gather_rows


def _edited(original: Any) -> Any:
    def gather(values: Tensor, batch: JoinedBatch) -> Tensor:
        gathered = original(values, batch)
        values.sub_(1)
        return gathered

    return gather


def _with_padding(self: JoinedBatch, device: torch.device) -> Tensor:
    return torch.arange(self.ranks.count * self.longest, device=device)[-self.samples :]


def _own_maximum(original: Any) -> Any:
    def all_reduce(tensor: Tensor, how: str, ranks: Ranks) -> Tensor:
        return tensor.clone() if how == "max" else original(tensor, how, ranks)

    return all_reduce


def _class_0_elsewhere(original: Any) -> Any:
    return lambda *inputs: original(*inputs).clamp(min=0)


def _unshifted_labels(_original: Any) -> Any:
    def places(labels: Tensor, num_classes: int, ranks: Ranks) -> Tensor:
        start, stop = ranks.own_classes(num_classes)
        return torch.where(labels < stop - start, labels, -1)

    return places


def _averaged_shards(original: Any) -> Any:
    def own_shard(parameter: Tensor) -> Tensor:
        shard = original(parameter)
        return shard / 3 + (shard - shard / 3).detach()

    return own_shard


def _of_own_batch() -> Any:
    own = property(lambda self: self.ranks.count * self.sizes[self.ranks.index])
    return patch.object(JoinedBatch, "samples", own)


PLAIN = ("softmax: plain", "triplet_batch_hard: plain")
GATHERED, MERGED, TOTAL = collectives._GatheredRows, collectives._Merged, collectives._Total

FAULTS = [
    Fault("a gather multiplies gradients by the ranks", _row_factor(lambda n: n), PLAIN),
    Fault("a gather divides gradients by the ranks", _row_factor(lambda n: 1 / n), PLAIN),
    Fault(
        "a gather gives no gradient to the rows of other ranks",
        lambda: patch.object(GATHERED, "backward", staticmethod(_own_gradient_alone)),
        ("triplet_batch_hard: plain",),
    ),
    Fault(
        "the backward of an all-reduce adds up the upstream gradients",
        _summing_backward,
        ("center: plain",),
    ),
    Fault(
        "an all-reduce outside autograd: the target's logit has no gradient",
        _instead(MERGED, "backward", _without_terms),
        ("arcface: plain",),
    ),
    Fault(
        "the upstream factor is dropped",
        lambda: patch.object(TOTAL, "backward", staticmethod(_one_upstream)),
        ("center: another upstream factor",),
    ),
    Fault(
        "the smoothing is counted once a rank",
        _instead(cross_entropy, "sums_over_shard", _smoothing_everywhere),
        ("normface: label smoothing",),
    ),
    Fault(
        "the probability is clamped",
        _instead(cross_entropy, "soft_margin", _clamped),
        ("softmax: large inputs",),
    ),
    Fault(
        "the batch size is that of the first step",
        _frozen_batch,
        ("triplet_weighted: after a smaller batch",),
    ),
    Fault("rows are gathered twice", _instead(samples, "gather_rows", _twice), ("softmax: plain",)),
    Fault("labels are edited in place", _instead(samples, "gather", _edited), ("softmax: plain",)),
    Fault(
        "all ranks are taken to have batches of one size",
        lambda: patch.object(JoinedBatch, "places", _with_padding),
        ("softmax: plain",),
    ),
    Fault(
        "every rank subtracts its own maximum",
        _instead(collectives, "all_reduce", _own_maximum),
        ("softmax: plain",),
    ),
    Fault(
        "a rank without a sample's class takes its class 0 for it",
        _instead(cross_entropy, "own_places", _class_0_elsewhere),
        ("softmax: targets in the first shard only",),
    ),
    Fault(
        "labels are not shifted to the shard",
        _instead(cross_entropy, "own_places", _unshifted_labels),
        ("softmax: plain",),
    ),
    Fault(
        "the shards' gradients are averaged over the ranks",
        _instead(cross_entropy, "own_shard", _averaged_shards),
        ("softmax: plain",),
    ),
    Fault(
        "the loss is the mean of the ranks' means",
        _of_own_batch,
        ("triplet_weighted: plain",),
    ),
]
