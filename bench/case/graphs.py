"""Capture a step as a CUDA graph: a replay has its kernels, and no launches by the CPU."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.bench.case.calls import Calls
from lossbench.bench.case.feed import Feed

# Libraries allocate workspaces, and Triton tunes, in the first calls; a capture allows neither.
WARM_UPS = 3

Step = Callable[[], tuple[Any, tuple[Tensor | None, ...]]]
Capture = Callable[[Step], Step]


class NoGraph(Exception):  # noqa: N818 - it tells what a step does, and is no error of ours
    """A step cannot be captured; the message says why, in one line."""


def capture_graph(step: Step) -> Step:
    """Return the replay of a step; its results are the same tensors at every call.

    Raises:
        NoGraph: if the step waits for the device, or does something else that no graph can hold.
    """
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UPS):
            step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            results = step()
    except RuntimeError as error:
        raise NoGraph(str(error).splitlines()[0]) from error

    def replay() -> tuple[Any, tuple[Tensor | None, ...]]:
        graph.replay()
        return results

    return replay


class GraphedCalls(Calls):
    """The calls of a module, with the step replayed as a CUDA graph; the forward is not."""

    def __init__(self, module: nn.Module, feed: Feed, capture: Capture = capture_graph) -> None:
        """Capture a step, and put the module back into the initial state.

        Args:
            module: module of an implementation of the Case's Loss.
            feed: source of the inputs and the state.
            capture: function that captures a step; it can be simulated.

        Raises:
            NoGraph: if the step cannot be captured.
        """
        self._replay: Step | None = None
        super().__init__(module, feed)
        self._replay = capture(super().step)
        self._restore()

    def step(self) -> tuple[Any, tuple[Tensor | None, ...]]:
        """Replay a forward and a backward, and return the outputs and all gradients."""
        return self._replay() if self._replay else super().step()
