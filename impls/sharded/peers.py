"""Softmax with its classes in shards, by torch's ``loss_parallel`` and by Megatron.

Both form the logits of this process's classes, ``[B, C_r]``, and keep their softmax for the
backward pass. What is around them is as in the other variants here.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lossbench.impls.catalogue import LossAndLogits
from lossbench.impls.differentiable import differentiable_once
from lossbench.impls.products import product
from lossbench.impls.registry import register
from lossbench.impls.sharded.cross_entropy import ShardedWeights
from lossbench.impls.sharded.limits import SHARDED
from lossbench.impls.sharded.ranks import Ranks
from lossbench.impls.sharded.samples import JoinedSamples
from lossbench.impls.sharded.shards import own_shard
from lossbench.impls.state import ClassWeights

PEER: Mapping[str, Any] = {**SHARDED, "leaves_out": ("logits",)}


class _OfLogits(ShardedWeights, ClassWeights):
    """A base class of losses of the logits of each process's classes."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> LossAndLogits:
        """Return the loss of all processes' samples, and no logits."""
        samples = JoinedSamples.of(embeddings, labels, self._meet(embeddings))
        samples.refuse_strays(self.weight.size(1))
        shard = own_shard(self.weight).to(samples.rows.dtype)
        logits: Tensor = _OwnLogits.apply(samples.rows, shard)  # type: ignore[no-untyped-call]
        if torch.is_autocast_enabled(logits.device.type):
            # As autocast itself does for a cross-entropy.
            logits = logits.float()
        return LossAndLogits(self._mean(logits, samples.labels), None)

    def _mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss, 0-d, of own logits ``[B, C_r]``."""
        raise NotImplementedError


@register("softmax", "loss_parallel", **PEER)
class LossParallelSoftmax(_OfLogits):
    """``F.cross_entropy`` of a ``DTensor`` under ``loss_parallel``."""

    def _mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        given = (logits, labels, self.ranks, self.weight.size(1))
        loss: Tensor = _LossParallel.apply(*given)  # type: ignore[no-untyped-call]
        return loss


@register("softmax", "megatron", requires=("megatron",), **PEER)
class MegatronSoftmax(_OfLogits):
    """Megatron's ``vocab_parallel_cross_entropy``; the classes must be a multiple of the ranks."""

    def __init__(self, num_classes: int, embedding_dim: int) -> None:
        super().__init__(num_classes, embedding_dim)
        if num_classes % self.ranks.count:
            raise ValueError(
                f"num_classes must be a multiple of the {self.ranks.count} ranks for Megatron, got "
                f"{num_classes}"
            )

    def _mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        from megatron.core import parallel_state
        from megatron.core.tensor_parallel.cross_entropy import vocab_parallel_cross_entropy

        # It reads its group from a global variable, and writes into the logits.
        former = parallel_state._TENSOR_MODEL_PARALLEL_GROUP
        parallel_state._TENSOR_MODEL_PARALLEL_GROUP = self.ranks.group
        try:
            losses: Tensor = vocab_parallel_cross_entropy(logits, labels)
        finally:
            parallel_state._TENSOR_MODEL_PARALLEL_GROUP = former
        return losses.mean()


class _OwnLogits(torch.autograd.Function):
    """``rows [B, D] @ shard [D, C_r]``; no tensor of the logits' size is kept."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, shard: Tensor) -> Tensor:
        ctx.save_for_backward(rows, shard)
        return product(rows, shard)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        rows, shard = ctx.saved_tensors
        # Under autocast the logits are of another dtype than both.
        grad = grad.to(rows.dtype)
        return product(grad, shard.t()), product(rows.t(), grad)


class _LossParallel(torch.autograd.Function):
    """The backward pass must run under ``loss_parallel`` too, which a caller cannot know."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, ranks: Ranks, classes: int) -> Tensor:
        from torch.distributed.device_mesh import DeviceMesh
        from torch.distributed.tensor import DTensor, Replicate, Shard
        from torch.distributed.tensor.parallel import loss_parallel

        mesh = DeviceMesh.from_group(ranks.group, logits.device.type)
        ctx.leaf = logits.detach().requires_grad_()
        with torch.enable_grad(), loss_parallel():
            shape = torch.Size((len(logits), classes))
            whole: Any = DTensor.from_local(
                ctx.leaf, mesh, [Shard(1)], run_check=False, shape=shape, stride=(classes, 1)
            )
            given: Any = DTensor.from_local(labels, mesh, [Replicate()], run_check=False)
            joined: Any = F.cross_entropy(whole, given)
            ctx.loss = joined.to_local()
        result: Tensor = ctx.loss.detach().clone()
        return result

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from torch.distributed.tensor.parallel import loss_parallel

        with loss_parallel():
            (of_logits,) = torch.autograd.grad(ctx.loss, ctx.leaf, retain_graph=True)
        return of_logits * grad, None, None, None
