"""Memory counted from the allocator's own events: exact, and the same at every run.

On the CPU the profiler reports each allocation and release of the tensor allocator, compiled code's
included; on CUDA the caching allocator keeps the figures. What a library takes for itself beside
them (a matrix product's packing buffers, cuBLAS's workspace) is not seen.
"""

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import impls
from bench.agreement import workload_of
from bench.cases import Case
from bench.workload import trainable

# Below this level the profiler prints two lines at every use. It is read at the first one.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")


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
        peak_bytes: the most it held at once, above what there was before.
        live_bytes: what was still held when it returned, its result included; below 0 where it
            released what there was before.
        allocations: how many buffers it took.
        reserved_bytes: the most that CUDA's caching allocator took from the device for it.
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
    outs = [workload.outputs(module, leaves)]

    def forward() -> Any:
        outs.append(workload.outputs(module, leaves))

    def loss_alone() -> Any:
        return workload.outputs(module, leaves)[0]

    def backward() -> Any:
        return workload.gradients(outs.pop(), targets)

    def step() -> Any:
        return workload.gradients(workload.outputs(module, leaves), targets)

    backward()
    graph = footprint(loss_alone, case.device)
    call = footprint(forward, case.device)
    back = footprint(backward, case.device)
    return Memory(
        forward_peak_bytes=call.peak_bytes,
        backward_peak_bytes=call.live_bytes + back.peak_bytes,
        saved_bytes=graph.live_bytes,
        allocations=call.allocations + back.allocations,
        reserved_bytes=footprint(step, case.device).reserved_bytes if case.device == "cuda" else 0,
    )


def footprint(call: Callable[[], Any], device: str) -> Footprint:
    """Return what a call does to the allocator of a device, ``cpu`` or ``cuda``."""
    # Garbage of earlier calls that is collected meanwhile would count as released by this one.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _cuda_footprint(call) if device == "cuda" else _cpu_footprint(call)
    finally:
        if collecting:
            gc.enable()


def _cpu_footprint(call: Callable[[], Any]) -> Footprint:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = call()
    # Only the raw events keep the order and the sign; the averaged table adds them up.
    results = profiler.profiler.kineto_results
    events = [event for event in results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    held = peak = allocations = 0
    for event in events:
        held += event.nbytes()
        peak = max(peak, held)
        allocations += event.nbytes() > 0
    del result
    return Footprint(peak, held, allocations)


def _cuda_footprint(call: Callable[[], Any]) -> Footprint:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_stats()
    result = call()
    torch.cuda.synchronize()
    after = torch.cuda.memory_stats()
    del result
    return Footprint(
        after["allocated_bytes.all.peak"] - before["allocated_bytes.all.current"],
        after["allocated_bytes.all.current"] - before["allocated_bytes.all.current"],
        after["allocation.all.allocated"] - before["allocation.all.allocated"],
        after["reserved_bytes.all.peak"] - before["reserved_bytes.all.current"],
    )
