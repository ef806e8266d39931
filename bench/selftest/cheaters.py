"""Implementations that cheat, each in one way; the harness must refuse each with the reason."""

import re
from typing import Any

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.agreement import measure_agreement
from lossbench.bench.selftest.contender import Cheat, Forward, around_reference
from lossbench.impls.registry import REFERENCE

CHEATED_LOSSES = ("center_mse", "arcface", "triplet_batch_hard")


@dataclass(frozen=True)
class Refusal:
    """The result of one cheater.

    Attributes:
        cheat: name of the cheat.
        loss: name of the loss that it pretends to implement.
        reason: reason for which the harness refused it; empty if it passed.
        expected: regular expression that the reason must match; empty if it must pass.
    """

    cheat: str
    loss: str
    reason: str
    expected: str

    @property
    def right(self) -> bool:
        """Whether a cheater was refused for the right reason, or an honest copy passed."""
        return bool(re.search(self.expected, self.reason)) if self.expected else not self.reason


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


def cheater(loss: str, cheat: Cheat) -> impls.Implementation:
    """Return an Implementation of a Loss that is the reference with a cheat."""
    return impls.Implementation(impls.loss(loss), "cheater", around_reference(loss, cheat))


def reason_to_refuse(case: Case, implementation: impls.Implementation) -> str:
    """Return the reason for which the harness does not time an implementation; empty if it does."""
    try:
        agreement = measure_agreement(case, implementation)
    except (RuntimeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "; ".join(str(part) for part in agreement if not part.passed)


def measure_refusals(device: str) -> tuple[Refusal, ...]:
    """Return the result of every cheater, for every Loss in which its cheat has an effect."""
    refusals = []
    for loss in CHEATED_LOSSES:
        case = Case(loss, batch=16, dim=8, classes=5, device=device)
        stateless = not impls.implementation(loss, REFERENCE).build(**case.arguments).state_dict()
        for name, (cheat, expected) in CHEATS.items():
            if cheat is moving and stateless:
                continue
            reason = reason_to_refuse(case, cheater(loss, cheat))
            refusals.append(Refusal(name, loss, reason, expected))
    return tuple(refusals)
