"""Contenders that cheat, each in one way; the harness must refuse every one, and say why."""

import re
from collections.abc import Callable
from typing import Any

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.measure.agreement import measure_agreement
from lossbench.impls.registry import REFERENCE

CHEATED_LOSSES = ("center_mse", "arcface", "triplet_batch_hard")

Forward = Callable[..., Any]
Cheat = Callable[[nn.Module, Forward, Tensor, Tensor], Any]


@dataclass(frozen=True)
class Refusal:
    """What became of a cheater.

    Attributes:
        cheat: what it does.
        loss: whose implementation it pretends to be.
        reason: the harness's; empty where it passed.
        expected: a regular expression that the reason must match; empty where it must pass.
    """

    cheat: str
    loss: str
    reason: str
    expected: str

    @property
    def right(self) -> bool:
        """Whether a cheater was refused for what it does, or an honest copy passed."""
        return bool(re.search(self.expected, self.reason)) if self.expected else not self.reason


def honest(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Do as the reference does."""
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
    """Return the first call's loss for ever, with the right gradients."""
    out = forward(embeddings, labels)
    first = module.__dict__.setdefault("first", out.loss.detach())
    return out._replace(loss=out.loss - out.loss.detach() + first)


def mutating(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Halve the input once the loss is computed."""
    out = forward(embeddings, labels)
    embeddings.data.mul_(0.5)
    return out


def misdirected(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Return the right loss with the gradient of another input."""
    # Another input in earnest: permuted or rotated alone, some losses have the same gradient there.
    other = forward(embeddings + embeddings.detach().roll(1, 0), labels)
    out = forward(embeddings, labels)
    return out._replace(loss=out.loss.detach() + other.loss - other.loss.detach())


def halved(_module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Look at one half of the batch."""
    half = len(labels) // 2
    return forward(embeddings[:half], labels[:half])


def moving(module: nn.Module, forward: Forward, embeddings: Tensor, labels: Tensor) -> Any:
    """Change the parameters, unseen by the graph."""
    out = forward(embeddings, labels)
    for parameter in module.parameters():
        parameter.data.mul_(1.01)
    return out


# What each is called, and the reason for which it must be refused.
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
    """Return an Implementation of a Loss that is the reference but for a cheat."""
    entry = impls.loss(loss)

    def build(**arguments: Any) -> nn.Module:
        module = entry.reference(**arguments)
        forward = module.forward
        module.forward = lambda embeddings, labels: cheat(module, forward, embeddings, labels)
        return module

    return impls.Implementation(entry, "cheater", build)


def reason_to_refuse(case: Case, implementation: impls.Implementation) -> str:
    """Return why the harness gives an implementation no times; empty where it passes."""
    try:
        agreement = measure_agreement(case, implementation)
    except (RuntimeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "; ".join(str(part) for part in agreement if not part.passed)


def measure_refusals(device: str) -> tuple[Refusal, ...]:
    """Return what becomes of every cheater in every Loss where its cheat means something."""
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
