"""Measure the cost of compiling an implementation, and its recompilations for other batch sizes.

A second compilation in one process, or with code in a cache, is several times shorter than the
first. A user pays for the first, so it is measured in a process of its own.
"""

import time
from dataclasses import dataclass, replace

import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.errors import UsageError
from lossbench.bench.machine.compiler import import_dynamo, import_inductor
from lossbench.bench.machine.guards import GUARD
from lossbench.bench.measure.agreement import workload_of
from lossbench.impls.registry import REFERENCE


@dataclass(frozen=True)
class Compilation:
    """The work of torch.compile for an implementation.

    Attributes:
        compile_seconds: time of the first step minus that of the second, and ``start_seconds``.
        graphs: number of graphs that the first step was compiled into.
        graph_breaks: number of graph breaks in the first step.
        cached: whether the disk cache had code of an earlier run.
        sweep: batch sizes of the steps that follow: one less, half, and twice the size.
        recompiles: number of graphs that these steps added.
        start_seconds: time to import the compiler, which is a part of ``compile_seconds``.
        fresh: whether the process was fresh and the cache empty. Records from before this was so
            have ``False``: their time lacks the start of the compiler, and the work that an
            earlier compilation of the process had done.
    """

    compile_seconds: float
    graphs: int
    graph_breaks: int
    cached: bool
    sweep: tuple[int, ...]
    recompiles: int
    start_seconds: float = 0.0
    fresh: bool = False


@dataclass(frozen=True)
class WarmCompilation:
    """The cost of torch.compile in a process that finds the code in the disk cache.

    Attributes:
        compile_seconds: time of the first step minus that of the second; with ``start_seconds`` if
            the process was fresh.
        start_seconds: time to import the compiler.
        cached: whether the disk cache had all code.
        fresh: whether the process was fresh, as in ``Compilation``.
    """

    compile_seconds: float
    start_seconds: float
    cached: bool
    fresh: bool = False


def measure_compilation(case: Case, variant: str) -> Compilation:
    """Return the cost of compiling a variant for a Case, and for other batch sizes.

    This process must be fresh, and its cache empty.
    """
    from torch._dynamo.utils import counters

    started, compiling, module = _compile(case, variant)
    graphs, breaks = counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
    cached = counters["inductor"]["fxgraph_cache_hit"] > 0
    sweep = tuple(_other_batches(case))
    for other in sweep:
        Workload.of(other).step(module)
    return Compilation(
        compile_seconds=started + compiling,
        graphs=graphs,
        graph_breaks=breaks,
        cached=cached,
        sweep=tuple(other.batch for other in sweep),
        recompiles=counters["stats"]["unique_graphs"] - graphs,
        start_seconds=started,
        fresh=True,
    )


def measure_warm_compilation(case: Case, variant: str) -> WarmCompilation:
    """Return the cost of compiling a variant after another process has cached the code.

    This process must be fresh.
    """
    from torch._dynamo.utils import counters

    started, compiling, _ = _compile(case, variant)
    cached = counters["inductor"]["fxgraph_cache_miss"] == 0
    return WarmCompilation(started + compiling, started, cached, fresh=True)


def _compile(case: Case, variant: str) -> tuple[float, float, torch.nn.Module]:
    """Return the seconds to import the compiler and to compile a variant, and its module."""
    from torch._dynamo.utils import counters

    workload = workload_of(case)
    # The first step of a process also starts the device and its libraries.
    workload.step(workload.module(impls.implementation(case.loss, REFERENCE)))
    # The compiler changes the state of the process when it starts.
    with GUARD.own_changes():
        started = import_dynamo() + import_inductor()
        torch.compiler.reset()
        counters.clear()
        module = workload.built(impls.implementation(case.loss, variant))
        first, second = (_seconds_of_step(workload, module) for _ in range(2))
    return started, max(first - second, 0.0), module


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
