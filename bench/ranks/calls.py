"""The calls of one variant on one rank, each on other inputs and from another state."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lossbench.bench.case.data import DIFFERENTIABLE
from lossbench.bench.case.feed import Content, Feed
from lossbench.bench.ranks.parts import (
    RankPart,
    joined_batch,
    own_part,
    whole_rows,
    whole_state,
    write_state,
)
from lossbench.impls.sharded.meeting import JoinedBatch
from lossbench.impls.sharded.ranks import Ranks

StepResult = tuple[Any, tuple[Tensor | None, ...]]


class RankInputs:
    """The leaves of this rank, which all variants share.

    Attributes:
        feed: feed of the whole batch; those of all ranks give the same.
        batch: sizes of the batches.
        own: leaves of this rank by name.
    """

    def __init__(self, feed: Feed, ranks: Ranks) -> None:
        """Take this rank's part of the feed's first inputs."""
        self.feed = feed
        self.batch = joined_batch(ranks, feed.workload.case.batch)
        copies = {name: leaf.detach().clone() for name, leaf in feed.leaves.items()}
        self.own = own_part(copies, self.batch)

    @torch.no_grad()
    def write(self, content: Content) -> None:
        """Write the inputs of a call in place."""
        self.feed.write_inputs(content, self.feed.leaves)
        for name, leaf in self.own.items():
            leaf.copy_(self.feed.leaves[name][self.batch.start : self.batch.stop])


class RankCalls:
    """The calls of a variant that are measured, as ``bench.case.calls.Calls`` on one process.

    Attributes:
        part: part of this rank.
        inputs: leaves of this rank.
        targets: inputs and parameters that a step computes the gradients of, by name.
    """

    def __init__(self, part: RankPart, inputs: RankInputs) -> None:
        """Prepare the first call; every rank must do so."""
        self.part, self.inputs = part, inputs
        self.targets = part.targets(inputs.own)
        self._whole = {name: t.clone() for name, t in inputs.feed.workload.state.items()}
        self._content: Content | None = None

    def forward(self) -> Any:
        """Run a forward, and return the outputs with their graph."""
        return self.part.outputs(self.inputs.own, self.inputs.batch)

    def backward(self, out: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of outputs to every input and parameter of this rank."""
        return self.part.gradients(out, list(self.targets.values()), self.inputs.batch, None)

    def step(self) -> StepResult:
        """Run a forward and a backward, and return the outputs and all gradients."""
        out = self.forward()
        return out, self.backward(out)

    def prepare(self) -> None:
        """Write new inputs and a new state for the next call."""
        self.give(self.inputs.feed.draw())

    def give(self, content: Content) -> None:
        """Write certain inputs and a certain state for the next call."""
        self.inputs.write(content)
        self.inputs.feed.write_state(content, self._whole, self._content)
        self._content = content
        write_state(self.part.module, self._whole, self.part.ranks)

    def whole(self, result: StepResult) -> dict[str, Tensor]:
        """Return the quantities of a step of all ranks, as ``agreement.quantities`` names them."""
        return whole_quantities(self.part, self.inputs.batch, self.targets, result)


def whole_quantities(
    part: RankPart, batch: JoinedBatch, targets: Mapping[str, Tensor], result: StepResult
) -> dict[str, Tensor]:
    """Return the compared tensors of a step, put together from all ranks; every rank must call it.

    Args:
        part: part of this rank.
        batch: sizes of the batches.
        targets: inputs and parameters with gradients, by name.
        result: outputs and gradients of this rank.
    """
    out, gradients = result
    found = {f"out.{out._fields[0]}": part.whole_loss(out[0], batch)}
    if getattr(out, "correct", None) is not None:
        found["out.correct"] = out.correct
    for (name, target), gradient in zip(targets.items(), gradients, strict=True):
        given = torch.zeros_like(target) if gradient is None else gradient
        given = given.to_dense() if given.is_sparse else given
        found[f"grad.{name}"] = (
            whole_rows(given, batch) if name in DIFFERENTIABLE else whole_state(given)
        )
    state = part.module.state_dict()
    return found | {f"after.{n}": whole_state(t).detach().clone() for n, t in state.items()}
