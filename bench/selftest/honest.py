"""Honest contenders that look like cheats: they keep something from call to call, and must pass."""

from typing import Any

import torch
from torch import Tensor, nn

from lossbench.bench.selftest.contender import Cheat, Forward


def workspace(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Compute a part in memory that is kept, and return copies."""
    rooms = module.__dict__.setdefault("rooms", {})
    key = embeddings.shape, embeddings.dtype
    room = rooms.setdefault(key, torch.empty_like(embeddings.detach()))
    room.copy_(embeddings.detach())
    same = embeddings + (room - embeddings.detach())
    return forward(same, labels)


def table(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Keep a table for each batch size, built at the first call with it."""
    tables = module.__dict__.setdefault("tables", {})
    rows = tables.setdefault(len(labels), torch.arange(len(labels), device=labels.device))
    return forward(embeddings.index_select(0, rows), labels)


class _OwnBackward(torch.autograd.Function):
    """The loss itself, with a backward of its own."""

    @staticmethod
    def forward(_ctx: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def backward(_ctx: Any, *upstream: Tensor) -> Tensor:
        return upstream[0].clone()


def own_backward(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Pass the loss through an autograd function of its own."""
    out = forward(embeddings, labels)
    loss = _OwnBackward.apply(out.loss)  # type: ignore[no-untyped-call]
    return out._replace(loss=loss)


def derived(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Keep what was derived from the parameters until their version changes."""
    weight = next(module.parameters())
    version, sums = module.__dict__.get("derived", (None, None))
    if version != weight._version:
        sums = weight.detach().sum(0)
        module.__dict__["derived"] = weight._version, sums
    out = forward(embeddings, labels)
    # A sum that is stale would change the loss.
    return out._replace(loss=out.loss + (weight.detach().sum(0) - sums).abs().sum())


def copied(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Compute from a contiguous copy of the inputs."""
    return forward(embeddings.clone(), labels.clone())


HONEST: dict[str, Cheat] = {
    "honest, keeps a workspace": workspace,
    "honest, builds a table at first": table,
    "honest, a backward of its own": own_backward,
    "honest, derived from a version": derived,
    "honest, copies its inputs": copied,
}
