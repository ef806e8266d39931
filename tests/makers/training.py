"""Small training loops for every registered implementation except those of third parties."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossbench import impls

BATCH, DIM, CLASSES = 12, 8, 5


@dataclass(frozen=True)
class Entrant:
    """An implementation with arguments.

    Attributes:
        implementation: the implementation.
        arguments: arguments in addition to sizes, such as the one that makes centres move.
    """

    implementation: impls.Implementation
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def loss(self) -> impls.Loss:
        """The Loss of the implementation."""
        return self.implementation.loss

    @property
    def moves(self) -> bool:
        """Whether a forward changes state."""
        moved = self.loss.moved
        return moved is not None and (not moved.argument or moved.argument in self.arguments)

    def limit(self, situation: str) -> str:
        """Return the reason why it does not fit a situation; empty if it fits."""
        limit = self.implementation.limits.get(situation, "")
        # Of centres that may move, a limit holds for those that do, or for the others.
        elsewhere = "without a center_rate" if self.moves else "with a center_rate"
        return "" if elsewhere in limit else limit

    def head(self, *, classes: int = CLASSES, dim: int = DIM, validate: bool = True) -> nn.Module:
        """Return its module, in the initial state of all variants."""
        torch.manual_seed(0)
        sizes = {"num_classes": classes, "embedding_dim": dim} if self.loss.has_classes else {}
        return self.implementation.build(validate=validate, **sizes, **self.arguments)

    def __str__(self) -> str:
        """Return its name for the names of tests."""
        suffix = "".join(f"-{name}" for name in self.arguments)
        return f"{self.loss.name}-{self.implementation.variant}{suffix}"


class Net(nn.Module):
    """A linear backbone with a head; it returns the sum of the head's first output."""

    def __init__(self, entrant: Entrant) -> None:
        super().__init__()
        torch.manual_seed(1)
        # Without classes a loss is that of differences, in which a bias would be noise.
        self.backbone = nn.Linear(DIM, DIM, bias=entrant.loss.has_classes)
        self.head = entrant.head()
        self.sides = 1 if entrant.loss.inputs == "labelled" else 2

    def forward(self, *inputs: Tensor, lowered: bool = True) -> Tensor:
        """Return the loss, 0-d; without ``lowered``, autocast is off in the backbone."""
        with nullcontext() if lowered else torch.autocast("cpu", enabled=False):
            sides = [self.backbone(x) for x in inputs[: self.sides]]
        return self.head(*sides, *inputs[self.sides :])[0].sum()


def draw(loss: impls.Loss, step: int = 0, batch: int = BATCH) -> tuple[Tensor, ...]:
    """Return one batch of inputs, with classes of unequal sizes in random order."""
    generator = torch.Generator().manual_seed(100 + step)

    def rows() -> Tensor:
        return torch.randn(batch, DIM, generator=generator)

    if loss.inputs == "labelled":
        labels = torch.randint(CLASSES, (batch,), generator=generator)
        # There must be negatives, so there are at least two classes.
        labels[:2] = torch.arange(2)[:batch]
        return rows(), labels
    if loss.inputs == "pairs":
        return rows(), rows(), torch.randint(2, (batch,), generator=generator).float()
    return rows(), rows()


def step(net: nn.Module, inputs: tuple[Tensor, ...], optimizer: torch.optim.Optimizer) -> float:
    """Train for one step, and return its loss."""
    optimizer.zero_grad()
    loss = net(*inputs)
    loss.backward()
    optimizer.step()
    return loss.item()


def gradients(net: nn.Module) -> dict[str, Tensor]:
    """Return the gradients after a backward, as dense tensors."""
    return {
        name: p.grad.to_dense().clone() for name, p in net.named_parameters() if p.grad is not None
    }


def state(net: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def entrants(*, compiled: bool = False) -> list[Entrant]:
    """Return all our implementations that run here, also once more with centres that move."""
    found = []
    for loss in impls.losses():
        for implementation in impls.implementations(loss.name):
            foreign = ".third_party." in implementation.builder.__module__
            if foreign or bool(implementation.mode) != compiled:
                continue
            if implementation.unsupported("cpu", torch.float32) is None:
                found.append(Entrant(implementation))
                if loss.moved is not None and loss.moved.argument:
                    found.append(Entrant(implementation, {loss.moved.argument: 0.5}))
    return found


ENTRANTS = entrants()
EVERY = pytest.mark.parametrize("entrant", ENTRANTS, ids=str)
LABELLED = pytest.mark.parametrize(
    "entrant", [e for e in ENTRANTS if e.loss.inputs == "labelled"], ids=str
)
MOVING = pytest.mark.parametrize("entrant", [e for e in ENTRANTS if e.moves], ids=str)
PARAMETRIC = pytest.mark.parametrize(
    "entrant", [e for e in ENTRANTS if e.loss.has_classes], ids=str
)


def reference_of(entrant: Entrant) -> Entrant:
    """Return the reference with the same arguments."""
    return Entrant(impls.implementation(entrant.loss.name, "reference"), entrant.arguments)
