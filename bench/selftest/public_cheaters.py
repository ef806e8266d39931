"""Publicly known cheats that no other file of contenders has."""

import threading
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.bench.selftest.contender import Forward

TRIVIAL_BATCH = 8


def other_stream(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Compute on another CUDA stream than the one that is timed."""
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        return forward(embeddings, labels)


def burning(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Keep a core busy in a thread that never ends, so that all others seem slow."""
    if all(thread.name != "burning" for thread in threading.enumerate()):
        threading.Thread(target=_burn, name="burning", daemon=True).start()
    return forward(embeddings, labels)


def _burn() -> None:
    numbers = torch.ones(64, 64)
    while True:
        numbers @ numbers


def uninitialized(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return logits that nobody wrote; the memory may still have those of an earlier call."""
    out = forward(embeddings, labels)
    return out._replace(logits=torch.empty_like(out.logits))


def from_reference(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Make the reference keep its last results, and return them."""
    kind: Any = type(module)
    if "results" not in vars(kind):
        kind.results, compute = [], kind.forward

        def keep(self: nn.Module, embeddings: Tensor, labels: Tensor) -> Any:
            kind.results[:] = [compute(self, embeddings, labels)]
            return kind.results[0]

        kind.forward = keep
    return kind.results[0] if kind.results else forward(embeddings, labels)


def falling_back(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Call the reference where its own code fails, as it always does."""
    try:
        raise NotImplementedError
    except NotImplementedError:
        return forward(embeddings, labels)


def forward_only(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return the right loss, with gradients of 0."""
    out = forward(embeddings, labels)
    return out._replace(loss=out.loss.detach() + 0 * out.loss)


def small_only(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return half of the gradients, except for small batches."""
    out = forward(embeddings, labels)
    if len(labels) <= TRIVIAL_BATCH:
        return out
    return out._replace(loss=out.loss.detach() / 2 + out.loss / 2)
