"""Distributed training: count the processes, and sum and shard tensors over them."""

import torch.distributed as dist
from torch import Tensor


def count_processes() -> int:
    """Return the number of processes that train together: torch's default group, or else 1."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes_(*tensors: Tensor) -> None:
    """Sum each tensor over all processes, in place; every process must call this."""
    if count_processes() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def shard_like(full: Tensor, sharded: Tensor) -> Tensor:
    """Return a tensor that is whole in every process as a DTensor, sharded as ``sharded`` is."""
    from torch.distributed.tensor import DTensor, Replicate

    assert isinstance(sharded, DTensor)
    mesh = sharded.device_mesh
    whole = DTensor.from_local(full, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return whole.redistribute(placements=sharded.placements)
