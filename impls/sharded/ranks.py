"""The processes that compute one loss together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch.distributed as dist

RowGradient = Literal["sum", "mean"]

NO_GROUP = "needs a process group: call torch.distributed.init_process_group in every process first"


@dataclass(frozen=True, eq=False)
class Ranks:
    """A group of processes, and what becomes of the gradients that they compute.

    Attributes:
        group: the processes; each holds a shard of the classes and a part of the batch.
        row_gradient: the way that a backbone's gradients are joined over the processes.
        wait_seconds: the seconds to wait for the other processes at the start of a call; ``None``
            for the timeout of the group.
    """

    group: "dist.ProcessGroup"
    row_gradient: RowGradient = "sum"
    wait_seconds: float | None = None

    @property
    def index(self) -> int:
        """The number of this process in the group, from 0 on."""
        return dist.get_rank(self.group)

    @property
    def count(self) -> int:
        """The number of processes in the group."""
        return dist.get_world_size(self.group)

    @property
    def row_factor(self) -> int:
        """The factor of the rows' gradient, which undoes a mean over the processes."""
        return self.count if self.row_gradient == "mean" else 1

    def own_classes(self, num_classes: int) -> tuple[int, int]:
        """Return the first class of this process, and the class after its last one.

        The last shards are smaller, or empty, as those of ``torch.distributed.tensor.Shard``.
        """
        width = -(-num_classes // self.count)
        start = min(num_classes, self.index * width)
        return start, min(num_classes, start + width)

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Ranks":
        """Return the same: a copied module belongs to the same processes."""
        return self

    def __reduce__(self) -> tuple[Callable[[], "Ranks"], tuple[()]]:
        """Let a pickled module join the processes that it is loaded in."""
        return current_ranks, ()


_entered: list[Ranks] = []


@contextmanager
def over(
    group: "dist.ProcessGroup | None" = None,
    *,
    row_gradient: RowGradient = "sum",
    wait_seconds: float | None = None,
) -> Iterator[None]:
    """Build the sharded losses of the block over a group of processes.

    Outside such a block they are built over torch's default group, with these defaults.

    Args:
        group: the processes; ``None`` for the default group.
        row_gradient: ``sum`` gives the embeddings the gradient of the loss, for a backbone with
            parameters' gradients that are added over the processes. ``mean`` multiplies it by the
            number of processes, for a backbone with gradients that are averaged, as
            DistributedDataParallel and ``fully_shard`` do. Class weights and centres have the
            gradient of the loss in both cases.
        wait_seconds: the seconds to wait for the other processes at the start of a call; ``None``
            for the timeout of the group.

    Raises:
        ValueError: if ``row_gradient`` is neither, or ``wait_seconds`` is not above 0.
        RuntimeError: if there is no process group.
    """
    if row_gradient not in get_args(RowGradient):
        choices = ", ".join(get_args(RowGradient))
        raise ValueError(f"row_gradient must be one of {choices}, got {row_gradient!r}")
    if wait_seconds is not None and not wait_seconds > 0:
        raise ValueError(f"wait_seconds must be above 0, got {wait_seconds!r}")
    _entered.append(Ranks(group or _default_group(), row_gradient, wait_seconds))
    try:
        yield
    finally:
        _entered.pop()


def current_ranks() -> Ranks:
    """Return the ranks of the innermost ``over``, or else those of torch's default group.

    Raises:
        RuntimeError: if there is no process group.
    """
    return _entered[-1] if _entered else Ranks(_default_group())


def no_group() -> str | None:
    """Return why no sharded loss can be built in this process, or ``None`` if one can."""
    return None if dist.is_available() and dist.is_initialized() else NO_GROUP


def _default_group() -> "dist.ProcessGroup":
    if reason := no_group():
        raise RuntimeError(f"a sharded loss {reason}")
    group = dist.group.WORLD
    assert group is not None
    return group
