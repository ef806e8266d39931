"""Measure the cost of compiling an implementation, and its recompilations for other batch sizes."""

import time
from dataclasses import dataclass, replace

import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.compiler import start_compiler
from lossbench.bench.measure.agreement import workload_of


@dataclass(frozen=True)
class Compilation:
    """The work of torch.compile for an implementation.

    Attributes:
        compile_seconds: time of the first step minus that of the second, in a process in which the
            compiler has already started.
        graphs: number of graphs that the first step was compiled into.
        graph_breaks: number of graph breaks in the first step.
        cached: whether the disk cache had code of an earlier run.
        sweep: batch sizes of the steps that follow: one less, half, and twice the size.
        recompiles: number of graphs that these steps added.
    """

    compile_seconds: float
    graphs: int
    graph_breaks: int
    cached: bool
    sweep: tuple[int, ...]
    recompiles: int


@dataclass(frozen=True)
class WarmCompilation:
    """The cost of torch.compile in a process that finds the code in the disk cache.

    Attributes:
        compile_seconds: time of the first step minus that of the second.
        start_seconds: time that the compiler itself took to start in this process.
        cached: whether the disk cache had all code.
    """

    compile_seconds: float
    start_seconds: float
    cached: bool


def measure_compilation(case: Case, implementation: impls.Implementation) -> Compilation:
    """Return the cost of compiling an implementation for a Case, and for other batch sizes."""
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


def measure_warm_compilation(workload: Workload, module: torch.nn.Module) -> WarmCompilation:
    """Return the cost of compiling a module after another process has cached the code."""
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
            # Some losses need a batch of 2 or more, and there are only so many digits.
            continue
    return others
