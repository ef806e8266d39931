"""DistributedDataParallel and fully_shard: two processes against one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lossbench.bench.case.workload import whole
from lossbench.bench.machine.guards import GUARD
from lossbench.bench.training_loop.situation import Situation
from lossbench.bench.training_loop.trainee import (
    LoopNet,
    Trainee,
    check_same,
    state_of,
    take_step,
)

PROCESSES, STEPS, LEARNING_RATE = 2, 3, 0.05
GROUP_SECONDS = 60


@dataclass(frozen=True)
class Rank:
    """One process of several.

    Attributes:
        index: its number, from 0 on.
        meeting: the path of a file, not there yet, by which the processes find each other.
    """

    index: int
    meeting: str


@contextmanager
def process_group(rank: Rank) -> Iterator[None]:
    """Join the processes in a gloo group, and leave it at the end."""
    with GUARD.own_changes():
        dist.init_process_group(
            "gloo",
            init_method=f"file://{rank.meeting}",
            rank=rank.index,
            world_size=PROCESSES,
            timeout=timedelta(seconds=GROUP_SECONDS),
        )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _copied(net: LoopNet) -> nn.Module:
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(net)


def _sharded(net: LoopNet) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    fully_shard(net)
    return net


def _sharded_by_parts(net: LoopNet) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    fully_shard(net.backbone)
    if any(True for _ in net.head.parameters()):
        fully_shard(net.head)
    fully_shard(net)
    return net


class _Checkpointed(nn.Module):
    """A net that runs again in the backward pass."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the net's loss."""
        return checkpoint(self.net, *inputs, use_reentrant=False)  # type: ignore[no-any-return]


def _copied_to_run_again(net: LoopNet) -> nn.Module:
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(_Checkpointed(net))


def _sharded_to_run_again(net: LoopNet) -> nn.Module:
    return _Checkpointed(_sharded_by_parts(net))


Wrap = Callable[[LoopNet], nn.Module]


def _trained(trainee: Trainee, wrap: Wrap, rank: Rank, rate: float) -> dict[str, Tensor]:
    """Return the state after some steps, each process on batches of its own."""
    net = trainee.net()
    model = wrap(net)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    for step in range(STEPS):
        take_step(model, trainee.draw(PROCESSES * step + rank.index), optimizer)
    return {name: whole(t).detach().clone() for name, t in net.state_dict().items()}


def _averaged(trainee: Trainee) -> dict[str, Tensor]:
    """Return the state after the same steps in one process: the gradient is the batches' mean."""
    net = trainee.net()
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE)
    for step in range(STEPS):
        optimizer.zero_grad()
        for index in range(PROCESSES):
            (net(*trainee.draw(PROCESSES * step + index)) / PROCESSES).backward()
        optimizer.step()
    return state_of(net)


def _joined(trainee: Trainee) -> dict[str, Tensor]:
    """Return the state that moves in one process, by the joined batches and nothing else."""
    net = trainee.net()
    for step in range(STEPS):
        batches = [trainee.draw(PROCESSES * step + index) for index in range(PROCESSES)]
        net(*(torch.cat(sides) for sides in zip(*batches, strict=True)))
    return state_of(net)


def check_agreement(state: Mapping[str, Tensor]) -> None:
    """Check, in every process, that all of them have the same state.

    Raises:
        AssertionError: where one has another.
    """
    states: list[Any] = [None] * PROCESSES
    dist.all_gather_object(states, dict(state))
    for index, other in enumerate(states):
        for name, tensor in state.items():
            if not torch.equal(other[name], tensor):
                raise AssertionError(f"{name} parts between the processes, see process {index}")


def _as_one_process(*wraps: Wrap) -> Callable[[Trainee, Rank], None]:
    """Return a check that all processes agree, and train as one with all batches.

    Of state that moves, what one process with the joined batches makes of it is compared.
    """

    def check(trainee: Trainee, rank: Rank) -> None:
        rate = 0.0 if trainee.moves else LEARNING_RATE
        expected = _joined(trainee) if trainee.moves else _averaged(trainee)
        with process_group(rank):
            for wrap in wraps:
                if trainee.moves:
                    check_agreement(_trained(trainee, wrap, rank, LEARNING_RATE))
                given = _trained(trainee, wrap, rank, rate)
                check_agreement(given)
                check_same(given, expected)

    return check


AS_ONE = "two gloo processes agree, and train as one with both batches"
DISTRIBUTED = (
    Situation("DDP", AS_ONE, _as_one_process(_copied), limit="ddp", processes=PROCESSES),
    Situation(
        "FSDP2",
        f"{AS_ONE}; wrapped whole and by parts",
        _as_one_process(_sharded, _sharded_by_parts),
        limit="fsdp",
        processes=PROCESSES,
    ),
    Situation(
        "DDP, FSDP2, checkpoint",
        f"{AS_ONE}, although each pass runs twice",
        _as_one_process(_copied_to_run_again, _sharded_to_run_again),
        limit="ddp",
        # Without moved state it is the same as the two.
        applies=lambda trainee: trainee.moves,
        processes=PROCESSES,
    ),
)
