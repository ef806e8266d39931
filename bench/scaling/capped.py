"""Run one real step while the memory of this process is capped.

Use a worker that has done nothing else. A process may keep memory that it has released, and the
step could use that memory without counting towards the cap.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import psutil
import torch

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload, trainable
from lossbench.bench.scaling.sweep import held_bytes, one_draw

# At the second batch torch compiles code for all batches, so two batches are needed.
WARM_UP_BATCHES = (64, 96)
# glibc's option for mallopt, and the size from which a block gets a mapping of its own.
M_MMAP_THRESHOLD, MAPPED_BYTES = -3, 128 * 1024


def step_within(case: Case, variant: str, memory_bytes: int) -> None:
    """Run one step with limited memory; called in a worker.

    Inputs, parameters and everything that a first step loads are made before the cap is set. The
    bytes of inputs and parameters are then subtracted from the cap.

    Args:
        case: the case to run.
        variant: name of the variant.
        memory_bytes: memory for inputs, parameters and the step.

    Raises:
        ValueError: if this machine has too little free memory for the trial.
        RuntimeError: if the step needs more memory than the cap.
    """
    _map_large_blocks()
    for batch in WARM_UP_BATCHES:
        workload = Workload.of(replace(case, batch=batch))
        workload.step(workload.module(impls.implementation(case.loss, variant)))
    try:
        workload = one_draw(case)
        module = workload.module(impls.implementation(case.loss, variant))
        inputs = workload.leaves()
    except (MemoryError, RuntimeError):
        raise ValueError("no room on this machine to make the inputs") from None
    targets = list(trainable(module, inputs).values())
    with capped(memory_bytes - held_bytes(workload), case.device):
        workload.gradients(workload.outputs(module, inputs), targets)


@contextmanager
def capped(room_bytes: int, device: str) -> Iterator[None]:
    """Cap the additional memory of this process inside the block.

    On the CPU the address space is capped, which only Linux enforces. On CUDA the memory that the
    caching allocator takes from the device is capped.

    Args:
        room_bytes: additional bytes that the process may take.
        device: ``cpu`` or ``cuda``.

    Raises:
        ValueError: if less memory than that is free, so that the cap would have no effect.
    """
    with _capped_cuda(room_bytes) if device == "cuda" else _capped_addresses(room_bytes):
        yield


@contextmanager
def _capped_addresses(room_bytes: int) -> Iterator[None]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + room_bytes
    if hard != resource.RLIM_INFINITY and limit > hard:
        raise ValueError("this machine has less memory free than that")
    # The soft limit can be raised again afterwards only if the hard limit stays.
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _capped_cuda(room_bytes: int) -> Iterator[None]:
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    if room_bytes > free:
        raise ValueError("this device has less memory free than that")
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + room_bytes) / total)
    try:
        yield
        torch.cuda.synchronize()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _map_large_blocks() -> None:
    """Make glibc return each large block to the system when it is released.

    By default the threshold grows with the released blocks, up to 32 MiB, and blocks below it stay
    in the heap.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
