"""A variant on one of several ranks: its module, its part of the batch, and what is joined.

A sharded variant joins the ranks itself. Any other has the parameters whole on every rank, in the
way that data-parallel training has them:

* A loss that is a mean over the samples is computed of the rank's own samples, and the gradients of
  the parameters are added over the ranks. This is what DistributedDataParallel does, without the
  overlap with the backward of a network.
* Any other loss is computed of the rows of all ranks, which are gathered, on every rank. Nothing is
  left to be joined then.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.case.data import DIFFERENTIABLE
from lossbench.bench.case.workload import Workload, trainable
from lossbench.impls.sharded import over
from lossbench.impls.sharded.collectives import all_reduce, gather
from lossbench.impls.sharded.meeting import JoinedBatch
from lossbench.impls.sharded.ranks import Ranks
from lossbench.impls.sharded.shards import CLASS_DIM

MEANS = frozenset(
    (
        *("softmax", "modified_softmax", "normface", "sphereface", "arcface", "arcface_guarded"),
        *("center_mse", "contrastive"),
    )
)
"""The losses that are a mean over the samples or the pairs."""


def joined_batch(ranks: Ranks, samples: int) -> JoinedBatch:
    """Return the batches of all ranks; the first have one sample more if they cannot be equal."""
    least, more = divmod(samples, ranks.count)
    return JoinedBatch(ranks, [least + (rank < more) for rank in range(ranks.count)])


def own_part(whole: Mapping[str, Tensor], batch: JoinedBatch) -> dict[str, Tensor]:
    """Return this rank's part of the inputs of all ranks, as leaves."""
    return {
        name: tensor.detach()[batch.start : batch.stop].requires_grad_(name in DIFFERENTIABLE)
        for name, tensor in whole.items()
    }


class RankPart:
    """The part of one rank in a variant.

    Attributes:
        module: module of the variant on this rank.
        ranks: ranks that compute the loss.
        joins: whether the variant joins the ranks itself.
        averages: whether the ranks compute losses of their own samples, which are averaged.
    """

    def __init__(
        self,
        workload: Workload,
        implementation: impls.Implementation,
        ranks: Ranks,
        *,
        validate: bool = True,
    ) -> None:
        """Build the module in the initial state; every rank must do so."""
        self.ranks, self.joins = ranks, implementation.joins_batches
        self.averages = not self.joins and workload.case.loss in MEANS
        self._workload = workload
        with over(ranks.group):
            self.module = workload.module(implementation, validate=validate)

    def outputs(self, own: Mapping[str, Tensor], batch: JoinedBatch) -> Any:
        """Return the outputs of the module, with their graph."""
        given = own
        if not (self.joins or self.averages):
            given = {name: _gathered(tensor, batch) for name, tensor in own.items()}
        return self._workload.outputs(self.module, given)

    def gradients(
        self, out: Any, wanted: Sequence[Tensor], batch: JoinedBatch, cotangent: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of the loss of all ranks to tensors of this rank.

        Args:
            out: outputs of the module.
            wanted: inputs and parameters of this rank.
            batch: sizes of the batches.
            cotangent: upstream gradient of the loss; ``None`` for 1.
        """
        if self.averages:
            share = (batch.stop - batch.start) / batch.samples
            cotangent = torch.full_like(out[0], share) if cotangent is None else share * cotangent
        found = torch.autograd.grad(out[0], list(wanted), cotangent, allow_unused=True)
        if not self.averages:
            return found
        parameters = {id(parameter) for parameter in self.module.parameters()}
        return tuple(
            all_reduce(g.to_dense() if g.is_sparse else g, "sum", self.ranks)
            if g is not None and id(t) in parameters
            else g
            for t, g in zip(wanted, found, strict=True)
        )

    def targets(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs and parameters of this rank that require a gradient, by name."""
        return trainable(self.module, own)

    def whole_loss(self, loss: Tensor, batch: JoinedBatch) -> Tensor:
        """Return the loss of all ranks."""
        if not self.averages:
            return loss.detach()
        share = (batch.stop - batch.start) / batch.samples
        return all_reduce(loss.detach() * share, "sum", self.ranks)


def whole_rows(rows: Tensor, batch: JoinedBatch) -> Tensor:
    """Return the rows of all ranks."""
    return gather(rows.detach(), batch)


def whole_state(tensor: Tensor) -> Tensor:
    """Return a parameter, its gradient or a buffer from the shards of all ranks."""
    full = getattr(tensor, "full_tensor", None)
    return tensor if full is None else full()


def shard_bytes(tensor: Tensor) -> int:
    """Return the bytes of a parameter on this rank."""
    local = getattr(tensor, "to_local", None)
    return (tensor if local is None else local()).nbytes


def _gathered(tensor: Tensor, batch: JoinedBatch) -> Tensor:
    if not tensor.requires_grad:
        return gather(tensor, batch)
    rows: Tensor = _GatheredCopies.apply(tensor, batch)  # type: ignore[no-untyped-call]
    return rows


class _GatheredCopies(torch.autograd.Function):
    """Every rank computes the whole loss of the rows, so it has its part of the gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, batch: JoinedBatch) -> Tensor:
        ctx.batch = batch
        return gather(rows, batch)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad[ctx.batch.start : ctx.batch.stop], None


@torch.no_grad()
def write_state(module: nn.Module, whole: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Write whole parameters and buffers into those of a module, or into its shards, in place."""
    for name, tensor in module.state_dict().items():
        source, local = whole[name], getattr(tensor, "to_local", None)
        if local is not None:
            start, stop = ranks.own_classes(source.size(CLASS_DIM[name]))
            tensor, source = local(), source.narrow(CLASS_DIM[name], start, stop - start)
        tensor.copy_(source)
