"""Prepare a module for repeated calls on the same inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossbench.bench.case.workload import Workload, trainable


@dataclass(frozen=True)
class Calls:
    """The calls of a module that are measured, always on the same inputs.

    Attributes:
        forward: function that runs a forward and keeps its graph.
        step: function that runs a forward and a backward, to every input and parameter.
        reset: function that restores the state that a step changes, and copies nothing else.
    """

    forward: Callable[[], object]
    step: Callable[[], object]
    reset: Callable[[], None]


def prepare_calls(workload: Workload, module: nn.Module, inputs: Mapping[str, Tensor]) -> Calls:
    """Return the calls of a module in the initial state.

    It runs one step first, to find out which state a step changes.

    Args:
        workload: workload of the Case.
        module: module of an implementation of the Case's Loss.
        inputs: leaf tensors; if several modules share them, no module profits from a better place
            of its inputs in memory.
    """
    targets = list(trainable(module, inputs).values())

    def forward() -> object:
        return workload.outputs(module, inputs)

    def step() -> object:
        return workload.gradients(workload.outputs(module, inputs), targets)

    step()
    after = module.state_dict()
    moved = [name for name, before in workload.state.items() if not before.equal(after[name])]

    @torch.no_grad()
    def reset() -> None:
        # A module may rebind the tensors that it changes, so each call looks them up again.
        for name in moved:
            module.state_dict()[name].copy_(workload.state[name])

    reset()
    return Calls(forward, step, reset)
