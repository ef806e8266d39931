"""What compiling an implementation costs, and whether its code serves other batch sizes."""

import time
from dataclasses import dataclass, replace
from functools import cache

import torch

import impls
from bench.agreement import workload_of
from bench.cases import Case
from bench.errors import UsageError
from bench.workload import Workload


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


def measure_compilation(case: Case, implementation: impls.Implementation) -> Compilation:
    """Return what compiling an implementation costs in a Case, and over other batch sizes."""
    from torch._dynamo.utils import counters

    _import_compiler()
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
def _import_compiler() -> None:
    """Compile a trifle, since the first compilation of a process imports and probes for long."""
    twice = torch.compile(lambda x: 2 * x)
    twice(torch.ones(2))


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
