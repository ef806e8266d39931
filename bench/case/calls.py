"""Prepare a module for repeated calls, each on other inputs and from another state."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.bench.case.feed import Content, Feed
from lossbench.bench.case.workload import trainable


class Calls:
    """The calls of a module that are measured.

    Attributes:
        module: module of an implementation of the Case's Loss.
        feed: source of the inputs and the state.
        content: inputs and state of the next call, or of the last one; ``None`` before any.
        targets: inputs and parameters that a step computes the gradients of, by name.
        moved: names of the parameters and buffers that a step changes.
    """

    def __init__(self, module: nn.Module, feed: Feed) -> None:
        """Put the module into the initial state, after one step that shows what a step changes."""
        self.module, self.feed = module, feed
        self.content: Content | None = None
        self.targets = trainable(module, feed.leaves)
        self.step()
        after, initial = module.state_dict(), feed.workload.state
        self.moved = frozenset(name for name in initial if not initial[name].equal(after[name]))
        self._restore()

    @torch.no_grad()
    def _restore(self) -> None:
        """Put the state that steps have changed back to the initial one."""
        for name in self.moved:
            self.state[name].copy_(self.feed.workload.state[name])

    @property
    def state(self) -> Mapping[str, Tensor]:
        """The module's parameters and buffers; a module may rebind those that it changes."""
        return self.module.state_dict()

    def forward(self) -> Any:
        """Run a forward, and return the outputs with their graph."""
        return self.feed.workload.outputs(self.module, self.feed.leaves)

    def step(self) -> tuple[Any, tuple[Tensor | None, ...]]:
        """Run a forward and a backward, and return the outputs and all gradients."""
        out = self.forward()
        return out, self.gradients(out)

    def gradients(self, out: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of outputs to every input and parameter."""
        return self.feed.workload.gradients(out, list(self.targets.values()))

    def prepare(self) -> None:
        """Write new inputs and a new state for the next call."""
        self.give(self.feed.draw())

    def give(self, content: Content) -> None:
        """Write certain inputs and a certain state for the next call."""
        if self.feed.workload.case.device == "cuda":
            # A step begins: CUDA graphs of compiled code may overwrite the results of the last.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        self.feed.write_inputs(content, self.feed.leaves)
        self.feed.write_state(content, self.state, self.content, self.moved)
        self.content = content


def prepare_calls(module: nn.Module, feed: Feed) -> Calls:
    """Return the calls of a module in the initial state, fed by a feed that others may share."""
    return Calls(module, feed)
