"""DistributedDataParallel and fully_shard: two processes against one with the joined batch."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from tests.makers.training import ENTRANTS, EVERY, MOVING, Entrant, Net, draw, state

STEPS = 3
WAYS = ("ddp", "fsdp", "fsdp of parts")


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return all shards of a tensor together."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def wrapped(net: nn.Module, way: str) -> nn.Module:
    if way == "ddp":
        return DistributedDataParallel(net)
    if way == "fsdp of parts":
        fully_shard(net.backbone)
        if any(True for _ in net.head.parameters()):
            fully_shard(net.head)
    return fully_shard(net)


def trained(entrant: Entrant, way: str, rank: int, rate: float) -> dict[str, torch.Tensor]:
    """Return the state after some steps on a process's own batches."""
    net = Net(entrant)
    model = wrapped(net, way)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    for index in range(STEPS):
        optimizer.zero_grad()
        model(*draw(entrant.loss, 2 * index + rank)).backward()
        optimizer.step()
    return {name: whole(tensor).detach().clone() for name, tensor in net.state_dict().items()}


def work(rank: int, folder: str) -> None:
    """Train every entrant in every way; write the states, or why there is none."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    found = {}
    for entrant in ENTRANTS:
        for way in WAYS:
            for rate in (0.05, 0.0):
                try:
                    found[str(entrant), way, rate] = trained(entrant, way, rank, rate)
                except Exception as error:  # noqa: BLE001 -- any is reported
                    found[str(entrant), way, rate] = f"{type(error).__name__}: {error}"
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Give what both processes found."""
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


WAY = pytest.mark.parametrize("way", WAYS)


@EVERY
@WAY
def test_all_ranks_agree(ranks, entrant, way):
    first, second = (found[str(entrant), way, 0.05] for found in ranks)
    if entrant.limit(way.partition(" ")[0]):
        assert isinstance(first, str)
        assert isinstance(second, str)
        return
    assert not isinstance(first, str), first
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@EVERY
@WAY
def test_shards_train_as_copies_do(ranks, entrant, way):
    if entrant.limit("ddp") or entrant.limit("fsdp"):
        pytest.skip("refused")
    expected, given = (ranks[0][str(entrant), w, 0.05] for w in ("ddp", way))
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)


@MOVING
@WAY
def test_state_moves_as_by_the_joined_batch(ranks, entrant, way):
    given = ranks[0][str(entrant), way, 0.0]
    if entrant.limit(way.partition(" ")[0]):
        assert "samples of its own process alone" in given
        return
    net = Net(entrant)
    for index in range(STEPS):
        batches = [draw(entrant.loss, 2 * index + rank) for rank in range(2)]
        net(*(torch.cat(sides) for sides in zip(*batches, strict=True)))
    torch.testing.assert_close(given, state(net), rtol=1e-5, atol=1e-5)
