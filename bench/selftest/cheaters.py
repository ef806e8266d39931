"""Implementations that cheat, each in one way; the harness must refuse each with the reason."""

from typing import Any

from torch import Tensor, nn

from lossbench.bench.selftest.contender import Cheat, Forward

CHEATED_LOSSES = ("center_mse", "arcface", "triplet_batch_hard")


def honest(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return the result of the reference."""
    return forward(embeddings, labels)


def zeros(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return a loss of 0 with gradients of 0."""
    out = forward(embeddings, labels)
    return out._replace(loss=0 * out.loss)


def detached(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return the right loss without a graph."""
    out = forward(embeddings, labels)
    return out._replace(loss=out.loss.detach())


def cached(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return the loss of the first call at every call, with the right gradients."""
    out = forward(embeddings, labels)
    first = module.__dict__.setdefault("first", out.loss.detach())
    return out._replace(loss=out.loss - out.loss.detach() + first)


def mutating(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Compute the right loss, then halve the input in place."""
    out = forward(embeddings, labels)
    embeddings.data.mul_(0.5)
    return out


def misdirected(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return the right loss with the gradient of another input."""
    # Some losses have the same gradient for a permuted or rotated input, so the input is changed.
    other = forward(embeddings + embeddings.detach().roll(1, 0), labels)
    out = forward(embeddings, labels)
    return out._replace(loss=out.loss.detach() + other.loss - other.loss.detach())


def halved(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Compute the loss of only one half of the batch."""
    half = len(labels) // 2
    return forward(embeddings[:half], labels[:half])


def moving(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Change the parameters without the graph's knowledge."""
    out = forward(embeddings, labels)
    for parameter in module.parameters():
        parameter.data.mul_(1.01)
    return out


# Each cheat by name, with a pattern of the reason for which it must be refused.
CHEATS: dict[str, tuple[Cheat, str]] = {
    "none, an honest copy": (honest, ""),
    "zeros": (zeros, r"out\.loss is off .*grad\.embeddings is off"),
    "detached graph": (detached, "does not require grad"),
    "cached result": (cached, r"out\.loss is off"),
    "input mutated": (mutating, "it changed its input embeddings"),
    "gradient of another input": (misdirected, r"grad\.embeddings is off"),
    "result from a smaller batch": (halved, r"out\.loss is off"),
    "parameters changed": (moving, r"after\.(centers|weight) is off"),
}
