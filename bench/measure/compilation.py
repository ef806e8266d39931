"""What compiling an implementation costs, and whether its code serves other batch sizes."""

import time
from dataclasses import dataclass, replace
from functools import cache

import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.guards import GUARD
from lossbench.bench.measure.agreement import workload_of


@dataclass(frozen=True)
class Compilation:
    """What torch.compile did for an implementation.

    Attributes:
        compile_seconds: the first step's time above that of the next, in a process that has
            compiled before.
        graphs: how many graphs the first step was compiled into.
        graph_breaks: how often the graph broke in it.
        cached: whether code of an earlier run was found on the disk.
        sweep: the batch sizes tried afterwards, in order: a short last batch, half and twice.
        recompiles: how many graphs these added.
    """

    compile_seconds: float
    graphs: int
    graph_breaks: int
    cached: bool
    sweep: tuple[int, ...]
    recompiles: int


@dataclass(frozen=True)
class WarmCompilation:
    """What torch.compile does for an implementation in a process that finds its code on the disk.

    Attributes:
        compile_seconds: the first step's time above that of the next.
        start_seconds: what the compiler's own start had cost the process before.
        cached: whether all code was found there.
    """

    compile_seconds: float
    start_seconds: float
    cached: bool


def measure_compilation(case: Case, implementation: impls.Implementation) -> Compilation:
    """Return what compiling an implementation costs in a Case, and over other batch sizes."""
    from torch._dynamo.utils import counters

    start_compiler()
    torch.compiler.reset()
    counters.clear()
    workload = workload_of(case)
    module = workload.module(implementation)
    first, second = (_seconds_of_step(workload, module) for _ in range(2))
    graphs, breaks = counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
    cached = counters["inductor"]["fxgraph_cache_hit"] > 0
    sweep = tuple(_other_batches(case))
    for other in sweep:
        Workload.of(other).step(module)
    return Compilation(
        compile_seconds=max(first - second, 0.0),
        graphs=graphs,
        graph_breaks=breaks,
        cached=cached,
        sweep=tuple(other.batch for other in sweep),
        recompiles=counters["stats"]["unique_graphs"] - graphs,
    )


@cache
def start_compiler() -> float:
    """Compile a trifle, and return how long that takes a process: it imports and probes."""
    with GUARD.own_changes():
        start = time.perf_counter()
        twice = torch.compile(lambda x: 2 * x)
        twice(torch.ones(2))
        return time.perf_counter() - start


def measure_warm_compilation(workload: Workload, module: torch.nn.Module) -> WarmCompilation:
    """Return what compiling a module costs where an earlier process has kept the code."""
    from torch._dynamo.utils import counters

    started = start_compiler()
    counters.clear()
    first, second = (_seconds_of_step(workload, module) for _ in range(2))
    cached = counters["inductor"]["fxgraph_cache_miss"] == 0
    return WarmCompilation(max(first - second, 0.0), started, cached)


def _seconds_of_step(workload: Workload, module: torch.nn.Module) -> float:
    workload.reset(module)
    start = time.perf_counter()
    workload.step(module)
    return time.perf_counter() - start


def _other_batches(case: Case) -> list[Case]:
    others = []
    for batch in (case.batch - 1, case.batch // 2, case.batch * 2):
        try:
            others.append(replace(case, batch=batch))
        except UsageError:
            # A loss that needs negatives has no smaller batch than 2, digits no larger than all.
            continue
    return others
