"""One real step under a cap on the memory of this process, beyond what it had before.

To be asked of a worker that has done nothing else: memory that a process has released, yet keeps
for itself, would serve the step unseen by the cap.
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

# Two, since compiled code meets a second batch with code that serves them all.
WARM_UP_BATCHES = (64, 96)
# Of glibc's mallopt: from which size on a block is a mapping of its own.
M_MMAP_THRESHOLD, MAPPED_BYTES = -3, 128 * 1024


def step_within(case: Case, variant: str, memory_bytes: int) -> None:
    """Take one step, with so many bytes for inputs, parameters and the step; asked of a worker.

    Inputs, parameters and all that a first step loads are there before the cap is set; of these
    the inputs and the parameters are deducted from it.

    Raises:
        ValueError: where this machine has no such memory to try with.
        RuntimeError: where the step takes more.
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
    """Let this process take so many bytes more, and refuse what goes beyond.

    On the CPU it is the address space that is capped, which Linux alone enforces; on CUDA what the
    caching allocator takes from the device.

    Raises:
        ValueError: where there is less than that, so that the cap would tell nothing.
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
    # The hard limit stays, so that the soft one can be raised again.
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
    """Have glibc give each large block back to the system once it is released.

    Else the threshold grows with the blocks released, up to 32 MiB, and they stay in the heap.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
