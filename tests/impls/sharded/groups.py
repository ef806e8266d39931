"""The groups of the first 1, 2, 3 and 4 of the processes."""

import torch.distributed as dist

Groups = dict[int, dist.ProcessGroup]


def new_group(world: int) -> dist.ProcessGroup:
    """Return the group of the first processes; every process must call this."""
    return dist.new_group(list(range(world)))


def is_in(world: int) -> bool:
    """Return whether this process is one of the first."""
    return dist.get_rank() < world
