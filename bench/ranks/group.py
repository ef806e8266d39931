"""The process group of a measurement: real ranks, or one that stands for many."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist

from lossbench.impls.sharded.ranks import Ranks

BACKEND = "gloo"


@contextmanager
def joined_ranks(rank: int, count: int, path: str, seconds: float) -> Iterator[Ranks]:
    """Join the other ranks of this machine for the block.

    Args:
        rank: number of this process, from 0 on.
        count: number of processes.
        path: path of a file that all processes meet by; it must not exist before.
        seconds: time to wait for another rank.
    """
    dist.init_process_group(
        BACKEND,
        init_method=f"file://{path}",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=seconds),
    )
    try:
        yield _all()
    finally:
        dist.destroy_process_group()


@contextmanager
def imagined_ranks(count: int) -> Iterator[Ranks]:
    """Be rank 0 of many for the block, although the others do not exist.

    A collective returns at once: what should come from other ranks is a copy of this rank's own, or
    any number. So all that this rank computes, allocates and sends is real; the values are not.
    """
    # Importing it registers the backend.
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=count)
    try:
        yield _all()
    finally:
        dist.destroy_process_group()


def imagined_beside(ranks: Ranks) -> Ranks:
    """Return a group of as many imagined ranks, beside one of real ranks; each must call this."""
    # Importing it registers the backend.
    from torch.testing._internal.distributed import fake_pg  # noqa: F401

    group = dist.new_group(list(range(ranks.count)), backend="fake")
    return Ranks(group)


def _all() -> Ranks:
    group = dist.group.WORLD
    assert group is not None
    return Ranks(group)
