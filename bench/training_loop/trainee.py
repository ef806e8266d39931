"""A trainee: one implementation with its arguments, in a small network and on small batches."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lossbench import impls
from lossbench.impls.registry import REFERENCE

# A rate at which centres move by themselves, where a Loss has them.
RATE = 0.5


@dataclass(frozen=True)
class LoopSizes:
    """The sizes that a trainee is built and tried at.

    Attributes:
        batch: samples of a batch, B.
        dim: features of a sample, D.
        classes: classes that labels are drawn from, C.
    """

    batch: int = 12
    dim: int = 8
    classes: int = 5

    def __str__(self) -> str:
        """Return the sizes in words."""
        return f"B={self.batch}, D={self.dim}, C={self.classes}"


@dataclass(frozen=True)
class Trainee:
    """An implementation and its arguments, by names, so that a worker can be asked for it.

    Attributes:
        name: the Loss's name.
        variant: the implementation's variant.
        arguments: the arguments that make it another kind of module, such as moving centres.
        sizes: the sizes that it is built and tried at.
    """

    name: str
    variant: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    sizes: LoopSizes = LoopSizes()

    @property
    def loss(self) -> impls.Loss:
        """Its Loss."""
        return impls.loss(self.name)

    @property
    def implementation(self) -> impls.Implementation:
        """Its Implementation."""
        return impls.implementation(self.name, self.variant)

    @property
    def label(self) -> str:
        """Its variant, with the arguments that differ from the defaults."""
        given = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.variant}, {given}" if given else self.variant

    @property
    def foreign(self) -> bool:
        """Whether a third party computes it."""
        return self.implementation.foreign

    @property
    def moves(self) -> bool:
        """Whether its forward pass moves state."""
        moved = self.loss.moved
        return moved is not None and (not moved.argument or moved.argument in self.arguments)

    @property
    def dtype(self) -> torch.dtype:
        """The widest dtype that it takes, in which rounding does not hide a difference."""
        unsupported = self.implementation.unsupported("cpu", torch.float64)
        return torch.float32 if unsupported else torch.float64

    @property
    def standard(self) -> "Trainee":
        """What it must equal: the reference; itself, outside the situation, where it departs."""
        return self if self.implementation.departs else replace(self, variant=REFERENCE)

    def limit(self, situation: str) -> str:
        """Return why it is not fit for a situation; empty where it is."""
        limit = self.implementation.limits.get(situation, "")
        # Of centres that may move, a limit holds for those that do, or for the others.
        elsewhere = "without a center_rate" if self.moves else "with a center_rate"
        return "" if elsewhere in limit else limit

    def head(self, *, validate: bool = True) -> nn.Module:
        """Return its module, in the state that all variants start in."""
        torch.manual_seed(0)
        sizes = {"num_classes": self.sizes.classes, "embedding_dim": self.sizes.dim}
        kept = sizes if self.loss.has_classes else {}
        return self.implementation.build(validate=validate, **kept, **self.arguments)

    def net(self) -> "LoopNet":
        """Return its module over a linear layer, in its dtype."""
        return LoopNet(self).to(self.dtype)

    def draw(
        self, step: int = 0, *, batch: int | None = None, dtype: torch.dtype | None = None
    ) -> tuple[Tensor, ...]:
        """Return the inputs of a step, with unequal classes in no order.

        Args:
            step: the number of the step, which seeds the inputs.
            batch: samples, where it is another number than usual.
            dtype: the floating inputs' dtype, where it is another than the trainee's.
        """
        size = self.sizes.batch if batch is None else batch
        generator = torch.Generator().manual_seed(100 + step)

        def rows() -> Tensor:
            drawn = torch.randn(size, self.sizes.dim, generator=generator)
            return drawn.to(dtype or self.dtype)

        if self.loss.inputs == "labelled":
            labels = torch.randint(self.sizes.classes, (size,), generator=generator)
            # Two classes at least, for there to be negatives.
            labels[:2] = torch.arange(2)[:size]
            return rows(), labels
        if self.loss.inputs == "pairs":
            return rows(), rows(), torch.randint(2, (size,), generator=generator).to(rows().dtype)
        return rows(), rows()

    def __str__(self) -> str:
        """Return its name, as a test's."""
        return "-".join((self.name, self.variant, *self.arguments))


class LoopNet(nn.Module):
    """A linear backbone and the head over it, which gives the sum of the head's first field."""

    def __init__(self, trainee: Trainee) -> None:
        super().__init__()
        torch.manual_seed(1)
        dim = trainee.sizes.dim
        # Without classes a loss is that of differences, in which a bias would be noise.
        self.backbone = nn.Linear(dim, dim, bias=trainee.loss.has_classes)
        self.head = trainee.head()
        self.sides = 1 if trainee.loss.inputs == "labelled" else 2

    def forward(self, *inputs: Tensor, lowered: bool = True) -> Tensor:
        """Return the loss, 0-d; ``lowered``: whether autocast lowers the backbone."""
        with nullcontext() if lowered else torch.autocast("cpu", enabled=False):
            sides = [self.backbone(x) for x in inputs[: self.sides]]
        loss: Tensor = self.head(*sides, *inputs[self.sides :])[0].sum()
        return loss


def take_step(net: nn.Module, inputs: tuple[Tensor, ...], optimizer: torch.optim.Optimizer) -> None:
    """Train a step."""
    optimizer.zero_grad()
    net(*inputs).backward()
    optimizer.step()


def gradients_of(net: nn.Module) -> dict[str, Tensor]:
    """Return the gradients that a backward pass left, dense."""
    named = net.named_parameters()
    return {f"grad.{n}": p.grad.to_dense().clone() for n, p in named if p.grad is not None}


def state_of(net: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


def check_same(
    given: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    exact: bool = False,
    loose: float = 1,
) -> None:
    """Refuse tensors that are not the expected ones, within their rounding.

    Args:
        given: the tensors to check, by name.
        expected: the expected tensors, under the same names.
        exact: whether no difference at all is allowed.
        loose: the factor by which the allowed rounding is multiplied.

    Raises:
        AssertionError: if a name is missing or a value differs; the message says by how much.
    """
    if given.keys() != expected.keys():
        raise AssertionError(f"gives {', '.join(given)}, expected {', '.join(expected)}")
    for name, tensor in expected.items():
        wide, other = given[name].double(), tensor.double()
        off = 0.0 if exact else (1e-8 if tensor.dtype == torch.float64 else 2e-5) * loose
        if not torch.allclose(wide, other, rtol=10 * off, atol=off, equal_nan=True):
            differs = (wide - other).abs().max().item()
            raise AssertionError(f"{name} differs by {differs:.2g} from {other.abs().max():.2g}")


def trainees_of(loss: str, *, compiled: bool = False) -> list[Trainee]:
    """Return a trainee for each implementation that runs here, one more if its centres may move.

    Args:
        loss: the Loss's name.
        compiled: whether to return the ``+compile`` variants, and only these.
    """
    moved, found = impls.loss(loss).moved, []
    for implementation in impls.implementations(loss):
        here = implementation.unsupported("cpu", torch.float32) is None
        if here and implementation.compiled == compiled:
            found.append(Trainee(loss, implementation.variant))
            if moved is not None and moved.argument:
                found.append(Trainee(loss, implementation.variant, {moved.argument: RATE}))
    return found
