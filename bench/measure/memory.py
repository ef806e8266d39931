"""Memory counted from the allocator's own events: exact, and the same at every run.

On the CPU the profiler reports each allocation and release of the tensor allocator, compiled code's
included; on CUDA the caching allocator keeps the figures. What a library takes for itself beside
them (a matrix product's packing buffers, cuBLAS's workspace) is not seen.
"""

import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import trainable
from lossbench.bench.measure.agreement import workload_of

# Below this level the profiler prints two lines at every use. It is read at the first one.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
# Marks the calls among a profile's events.
CALL = "lossbench call"


@dataclass(frozen=True)
class Memory:
    """Bytes above the inputs and the parameters.

    Attributes:
        forward_peak_bytes: the most at any moment of a forward, its outputs included.
        backward_peak_bytes: the most at any moment of a backward, what was saved for it and the
            gradients included.
        saved_bytes: what the graph keeps between forward and backward, the 0-d loss included; the
            other outputs count where the graph keeps them.
        allocations: how many buffers a step takes.
        reserved_bytes: on CUDA, the most that the caching allocator took from the device for a
            step; it takes whole blocks. 0 on the CPU.
    """

    forward_peak_bytes: int
    backward_peak_bytes: int
    saved_bytes: int
    allocations: int
    reserved_bytes: int = 0

    @property
    def step_peak_bytes(self) -> int:
        """The most at any moment of forward and backward."""
        return max(self.forward_peak_bytes, self.backward_peak_bytes)


@dataclass(frozen=True)
class Footprint:
    """What one call did to the allocator.

    Attributes:
        peak_bytes: the most it held at once, above what there was before the first of its row.
        live_bytes: what was still held when it returned, its result included, likewise.
        allocations: how many buffers it took.
        reserved_bytes: the most that CUDA's caching allocator took from the device, likewise.
    """

    peak_bytes: int
    live_bytes: int
    allocations: int
    reserved_bytes: int = 0


def measure_memory(case: Case, implementation: impls.Implementation) -> Memory:
    """Return the memory of one step of an implementation, after a step to warm it up."""
    workload = workload_of(case)
    module = workload.module(implementation)
    leaves = workload.leaves()
    targets = list(trainable(module, leaves).values())

    def forward(_: object) -> Any:
        return workload.outputs(module, leaves)

    def backward(out: Any) -> Any:
        return workload.gradients(out, targets)

    backward(forward(None))
    graph = footprint(lambda: forward(None)[0], case.device)
    call, back = footprints((forward, backward), case.device)
    return Memory(
        forward_peak_bytes=call.peak_bytes,
        backward_peak_bytes=back.peak_bytes,
        saved_bytes=graph.live_bytes,
        allocations=call.allocations + back.allocations,
        reserved_bytes=max(call.reserved_bytes, back.reserved_bytes),
    )


def footprint(call: Callable[[], Any], device: str) -> Footprint:
    """Return what a call does to the allocator of a device, ``cpu`` or ``cuda``."""
    return footprints((lambda _: call(),), device)[0]


def footprints(calls: Sequence[Callable[[Any], Any]], device: str) -> list[Footprint]:
    """Return what each of a row of calls does, each given the result of the one before it."""
    # Garbage of earlier calls that is collected meanwhile would count as released by this one.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _cuda_footprints(calls) if device == "cuda" else _cpu_footprints(calls)
    finally:
        if collecting:
            gc.enable()


def _cpu_footprints(calls: Sequence[Callable[[Any], Any]]) -> list[Footprint]:
    results: list[Any] = [None]
    # One profile for all: what was allocated before one is not seen to be released in it.
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        for call in calls:
            with record_function(CALL):
                results.append(call(results[-1]))
    # Only the raw events keep the order and the sign; the averaged table adds them up.
    events = sorted(profiler.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    found: list[Footprint] = []
    held = 0
    for event in events:
        if event.name() == CALL:
            found.append(Footprint(held, held, 0))
        elif event.name() == "[memory]":
            held += event.nbytes()
            so_far = found[-1]
            taken = so_far.allocations + (event.nbytes() > 0)
            found[-1] = Footprint(max(so_far.peak_bytes, held), held, taken)
    return found


def _cuda_footprints(calls: Sequence[Callable[[Any], Any]]) -> list[Footprint]:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    start = before = torch.cuda.memory_stats()
    results: list[Any] = [None]
    found = []
    for call in calls:
        torch.cuda.reset_peak_memory_stats()
        results.append(call(results[-1]))
        torch.cuda.synchronize()
        after = torch.cuda.memory_stats()
        found.append(
            Footprint(
                after["allocated_bytes.all.peak"] - start["allocated_bytes.all.current"],
                after["allocated_bytes.all.current"] - start["allocated_bytes.all.current"],
                after["allocation.all.allocated"] - before["allocation.all.allocated"],
                after["reserved_bytes.all.peak"] - start["reserved_bytes.all.current"],
            )
        )
        before = after
    return found
