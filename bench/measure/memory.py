"""Count memory from the events of the allocator: exact, and the same in every run.

On the CPU the profiler reports each allocation and release of the tensor allocator, compiled code
included. On CUDA the caching allocator counts. Memory that a library allocates by itself (packing
buffers of a matrix product, the workspace of cuBLAS) is not counted. On the CPU the profiler sees
the calling thread, in which autograd runs too. Tensors that a module allocates in a thread of its
own are not counted there; on CUDA they are.
"""

import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.profiler import record_function

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.draws import DRAWS
from lossbench.bench.case.workload import is_compiled, trainable
from lossbench.bench.machine.profiler import new_profiler
from lossbench.bench.measure.agreement import workload_of

# The profiler prints two lines at every use, unless the level is this high. It reads the level at
# its first use.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
ODD = next(number for number, draw in enumerate(DRAWS) if draw.odd)
# Marks the measured calls among the events of a profile.
CALL = "lossbench call"


@dataclass(frozen=True)
class Memory:
    """The memory of a step, without inputs and parameters.

    Attributes:
        forward_peak_bytes: largest memory at any moment of a forward, outputs included.
        backward_peak_bytes: largest memory at any moment of a backward, including saved tensors
            and gradients.
        saved_bytes: memory that the graph keeps between forward and backward, including the 0-d
            loss; other outputs count only if the graph keeps them.
        allocations: number of buffers that a step allocates.
        reserved_bytes: largest memory that CUDA's caching allocator took from the device for a
            step, in whole blocks; 0 on the CPU.
        kept_bytes: memory that is still allocated after two steps, when outputs and gradients have
            been dropped: workspaces, caches and results, wherever they are kept, but not parameters
            and buffers; ``None`` in records without it.
    """

    forward_peak_bytes: int
    backward_peak_bytes: int
    saved_bytes: int
    allocations: int
    reserved_bytes: int = 0
    kept_bytes: int | None = None

    @property
    def step_peak_bytes(self) -> int:
        """The largest memory at any moment of forward and backward."""
        return max(self.forward_peak_bytes, self.backward_peak_bytes)


@dataclass(frozen=True)
class Footprint:
    """The allocations of one call in a row of calls; bytes are counted from before the first call.

    Attributes:
        peak_bytes: largest memory at any moment of the call.
        live_bytes: memory that was still allocated when the call returned, its result included.
        allocations: number of buffers that the call allocated.
        reserved_bytes: largest memory that CUDA's caching allocator took from the device.
    """

    peak_bytes: int
    live_bytes: int
    allocations: int
    reserved_bytes: int = 0


def measure_memory(case: Case, implementation: impls.Implementation) -> Memory:
    """Return the memory of one step of an implementation, after a step to warm up."""
    kept = measure_kept_bytes(case, implementation)
    workload = workload_of(case)
    module = workload.module(implementation)
    leaves = workload.leaves()
    targets = list(trainable(module, leaves).values())

    def forward(_: object) -> Any:
        return workload.outputs(module, leaves)

    def backward(out: Any) -> Any:
        return workload.gradients(out, targets)

    backward(forward(None))
    return memory_of_step(forward, backward, case.device, kept_bytes=kept)


def memory_of_step(
    forward: Callable[[Any], Any],
    backward: Callable[[Any], Any],
    device: str,
    *,
    kept_bytes: int = 0,
) -> Memory:
    """Return the memory of a step that has run before.

    Args:
        forward: call of the forward; it takes any value, and returns the outputs.
        backward: call of the backward; it takes the outputs.
        device: ``cpu`` or ``cuda``.
        kept_bytes: bytes that the module keeps, which are told as they are.
    """
    graph = footprint(lambda: forward(None)[0], device)
    call, back = footprints((forward, backward), device)
    return Memory(
        forward_peak_bytes=call.peak_bytes,
        backward_peak_bytes=back.peak_bytes,
        saved_bytes=graph.live_bytes,
        allocations=call.allocations + back.allocations,
        reserved_bytes=max(call.reserved_bytes, back.reserved_bytes),
        kept_bytes=kept_bytes,
    )


def measure_kept_bytes(case: Case, implementation: impls.Implementation) -> int:
    """Return the bytes that a module keeps after two steps, beside parameters and buffers.

    Another module makes one step before, so that the memory of libraries does not count. It has a
    batch of another size, so what is kept for one size, even outside the module, does count, unless
    this process has made a step of that size before.
    """
    workload = workload_of(case)
    # Another size would compile another code than the one that is timed.
    other = 0 if is_compiled(implementation) else ODD
    workload.step(workload.module(implementation), other)
    module = workload.module(implementation)
    before = _storages(module)

    def two_steps(_: object) -> None:
        for _step in range(2):
            workload.step(module)
        gc.collect()

    # A collection looks at every object of the process, so the older ones are set aside.
    gc.freeze()
    try:
        kept = footprints((two_steps,), case.device)[0].live_bytes
    finally:
        gc.unfreeze()
    if case.device == "cuda":
        return kept
    # A module may rebind its state; the profiler does not see that the former tensors are freed.
    after = _storages(module)
    return kept - sum(size for place, size in after.items() if place not in before)


def _storages(module: nn.Module) -> dict[int, int]:
    """Return the sizes of the memory of parameters and buffers in bytes, by its address."""
    storages = [tensor.untyped_storage() for tensor in module.state_dict().values()]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def footprint(call: Callable[[], Any], device: str) -> Footprint:
    """Return the allocations of a call on a device, ``cpu`` or ``cuda``."""
    return footprints((lambda _: call(),), device)[0]


def footprints(calls: Sequence[Callable[[Any], Any]], device: str) -> list[Footprint]:
    """Return the allocations of each call in a row; each call gets the result of the one before."""
    # The garbage collector could free memory of earlier calls, which would count as freed here.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _cuda_footprints(calls) if device == "cuda" else _cpu_footprints(calls)
    finally:
        if collecting:
            gc.enable()


def _cpu_footprints(calls: Sequence[Callable[[Any], Any]]) -> list[Footprint]:
    results: list[Any] = [None]
    # A profile does not see the release of memory that was allocated before it began, so one
    # profile spans all calls.
    with new_profiler(profile_memory=True) as profiler:
        for call in calls:
            with record_function(CALL):
                results.append(call(results[-1]))
    # The averaged table adds events up; only the raw events have their order and their sign.
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
