"""Contenders of the self-test: a cheat around the reference, and what must become of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from lossbench import impls
from lossbench.bench.run.records import Status

Forward = Callable[..., Any]
Cheat = Callable[[nn.Module, Forward, Tensor, Tensor], Any]
"""A function of a module, its own forward, embeddings and labels; returns the outputs."""

Kind = Literal[
    "wrong results",
    "wrong on irregular batches",
    "cheats when timed",
    "changes the process",
    "harms its worker",
    "honest",
]


@dataclass(frozen=True)
class Contender:
    """A contender that a run of the self-test measures.

    Attributes:
        name: name, in words.
        kind: kind of contender.
        loss: loss that it pretends to compute.
        cheat: function around the reference's call.
        expected: status that its Record must have.
        reason: regular expression that the reason of the Record must match; empty to match any.
        quick: whether a quick self-test enters it too.
        devices: devices that it can be tried on.
    """

    name: str
    kind: Kind
    loss: str
    cheat: Cheat
    expected: Status = "refused"
    reason: str = ""
    quick: bool = False
    devices: tuple[str, ...] = ("cpu", "cuda")

    @property
    def variant(self) -> str:
        """The name of its variant, without the characters that such names may not have."""
        return re.sub(r"[^\w.]+", "_", self.name)

    @property
    def cell(self) -> tuple[str, str]:
        """The loss and the variant, which identify it in a run."""
        return self.loss, self.variant


def around_reference(loss: str, cheat: Cheat) -> Callable[..., nn.Module]:
    """Return a builder of the reference of a Loss, with a cheat around each call."""
    entry = impls.loss(loss)

    def build(**arguments: Any) -> nn.Module:
        module = entry.reference(**arguments)
        forward = module.forward
        module.forward = lambda embeddings, labels: cheat(module, forward, embeddings, labels)
        return module

    return build
