"""What a module of one process of several needs to know of the others."""

import torch.distributed as dist
from torch import Tensor


def count_processes() -> int:
    """Return how many processes train together: those of torch's default group, else 1."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes_(*tensors: Tensor) -> None:
    """Add to each tensor, in place, those of all other processes, which must call this as well."""
    if count_processes() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def shard_like(full: Tensor, sharded: Tensor) -> Tensor:
    """Return a tensor that every process holds whole as the DTensor that ``sharded`` is."""
    from torch.distributed.tensor import DTensor, Replicate

    assert isinstance(sharded, DTensor)
    mesh = sharded.device_mesh
    whole = DTensor.from_local(full, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return whole.redistribute(placements=sharded.placements)
