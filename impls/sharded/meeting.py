"""The start of a call: the processes tell each other their sizes, and refuse what does not fit."""

import zlib
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from lossbench.impls.sharded.ranks import Ranks

FAILED = -1


class Facts(NamedTuple):
    """What a process tells the others, as integers.

    Attributes:
        samples: the number of its samples; ``FAILED`` if it refused its inputs.
        dim: the width D of its embeddings.
        dtype: a code of the dtype of its embeddings.
        loss: a code of the loss, its arguments and its options.
    """

    samples: int
    dim: int = 0
    dtype: int = 0
    loss: int = 0


class JoinedBatch(NamedTuple):
    """The batches of all processes, one after the other.

    Attributes:
        ranks: the processes.
        sizes: the number of samples of each process.
    """

    ranks: Ranks
    sizes: Sequence[int]

    @property
    def start(self) -> int:
        """The place of this process's first sample."""
        return sum(self.sizes[: self.ranks.index])

    @property
    def stop(self) -> int:
        """The place after this process's last sample."""
        return self.start + self.sizes[self.ranks.index]

    @property
    def samples(self) -> int:
        """The number of samples B of all processes."""
        return sum(self.sizes)

    @property
    def longest(self) -> int:
        """The size of the largest batch, which the others are padded to."""
        return max(self.sizes)

    def places(self, device: torch.device) -> Tensor:
        """Return the place of each sample in the padded batches, ``[B]``."""
        return torch.cat(
            [
                torch.arange(size, device=device) + index * self.longest
                for index, size in enumerate(self.sizes)
            ]
        )


def meet(ranks: Ranks, rows: Tensor, loss: str) -> JoinedBatch:
    """Exchange the sizes of all processes' batches.

    Args:
        ranks: the processes; every one must call this.
        rows: the embeddings of this process, ``[B, D]``.
        loss: the loss, its arguments and its options, in words.

    Raises:
        ValueError: if a process has other embeddings or another loss, or refused its inputs.
        TimeoutError: if a process is missing.
    """
    code = zlib.crc32(str(rows.dtype).encode())
    own = Facts(len(rows), rows.size(1), code, zlib.crc32(loss.encode()))
    told = _exchange(ranks, own, rows.device)
    for index, facts in enumerate(told):
        if facts.samples == FAILED:
            raise ValueError(f"rank {index} refused its inputs; its own error says why")
        _check_alike(index, facts, told[0])
    return JoinedBatch(ranks, [facts.samples for facts in told])


def tell_of_failure(ranks: Ranks, device: torch.device) -> None:
    """Let the other processes know that this one refused its inputs, so that they do not wait."""
    try:
        _exchange(ranks, Facts(FAILED), device)
    except TimeoutError:
        # Nobody waits. The caller raises the first error, which says more.
        return


def _check_alike(index: int, facts: Facts, first: Facts) -> None:
    if facts.dim != first.dim:
        raise ValueError(
            f"all ranks must give embeddings of one width: rank 0 gave {first.dim} features, "
            f"rank {index} gave {facts.dim}"
        )
    if facts.dtype != first.dtype:
        raise ValueError(f"all ranks must give embeddings of one dtype: rank {index} has another")
    if facts.loss != first.loss:
        raise ValueError(
            f"all ranks must compute one loss, of the same classes, arguments and options: rank "
            f"{index} has another than rank 0"
        )


def _exchange(ranks: Ranks, own: Facts, device: torch.device) -> list[Facts]:
    """Return the facts of every process.

    This is no functional collective: those cannot be waited for with a limit of time.
    """
    facts = torch.tensor(own, device=device)
    told = [torch.empty_like(facts) for _ in range(ranks.count)]
    limit = () if ranks.wait_seconds is None else (timedelta(seconds=ranks.wait_seconds),)
    try:
        dist.all_gather(told, facts, group=ranks.group, async_op=True).wait(*limit)
    except RuntimeError as error:
        waited = "" if ranks.wait_seconds is None else f" within {ranks.wait_seconds:g} s"
        raise TimeoutError(
            f"rank {ranks.index} of {ranks.count}: another rank has ended or did not call this "
            f"loss{waited} ({str(error).splitlines()[0]})"
        ) from None
    return [Facts(*each) for each in torch.stack(told).tolist()]
