"""One module made ready to be called again and again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossbench.bench.case.workload import Workload, trainable


@dataclass(frozen=True)
class Calls:
    """What is called of a module, always on the same inputs.

    Attributes:
        forward: a forward with its graph.
        step: forward and backward, to every input and parameter.
        reset: puts back what a step changes of the module's state, and copies nothing else.
    """

    forward: Callable[[], object]
    step: Callable[[], object]
    reset: Callable[[], None]


def prepare_calls(workload: Workload, module: nn.Module, inputs: Mapping[str, Tensor]) -> Calls:
    """Return the calls of a module in the initial state, having taken one step to see what moves.

    Args:
        workload: of the Case.
        module: an implementation of the Case's Loss.
        inputs: leaves, which several modules may share, so that none has the luck of a better
            place in memory.
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
        # Looked up at each call, since a module may rebind what it changes.
        for name in moved:
            module.state_dict()[name].copy_(workload.state[name])

    reset()
    return Calls(forward, step, reset)
