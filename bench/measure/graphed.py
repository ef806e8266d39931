"""Time steps that are replayed as CUDA graphs, beside the eager ones."""

from collections.abc import Mapping
from functools import partial

from torch import nn

from lossbench.bench.case.feed import Feed
from lossbench.bench.case.graphs import Capture, GraphedCalls, NoGraph, capture_graph
from lossbench.bench.case.workload import Workload
from lossbench.bench.measure.trial import Sampled, sample_modules
from lossbench.bench.timing.sampling import Sampling

STEP = "step"


def sample_graphs(
    workload: Workload,
    modules: Mapping[str, nn.Module],
    sampling: Sampling,
    capture: Capture = capture_graph,
) -> Sampled:
    """Return the interleaved times of replayed steps, and the reasons why others have none.

    The results of a replay are compared with the oracle as those of an eager step are. They are in
    the same memory at every call, by declaration.

    Args:
        workload: workload of the Case.
        modules: modules by name, all in the initial state.
        sampling: sampling of the steps.
        capture: function that captures a step; it can be simulated.
    """
    reasons = {}
    for name, module in modules.items():
        try:
            GraphedCalls(module, Feed(workload), capture)
        except NoGraph as reason:
            reasons[name] = f"no CUDA graph holds its step: {reason}"
    left = {name: module for name, module in modules.items() if name not in reasons}
    if not left:
        return Sampled({STEP: {}}, reasons)
    found = sample_modules(
        workload,
        left,
        sampling,
        phases=(STEP,),
        overwritten=left,
        prepare=partial(GraphedCalls, capture=capture),
    )
    return Sampled(found.timings, {**reasons, **found.refusals})
