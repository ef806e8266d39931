"""Groups of processes on this machine, started once for many cases."""

import multiprocessing
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


def run_ranks(count: int, function: Callable[[Path], Any], seconds: float) -> list[Any]:
    """Return what a function returns in each process of a gloo group.

    The processes are forked from a server that has imported the function's module once.

    Args:
        count: the number of processes.
        function: a function at the top level of a module, from a folder that the processes share.
        seconds: the time after which the processes are killed; also the timeout of the group.

    Raises:
        AssertionError: with the first traceback, if a process raises or does not end in time.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, function.__module__, "torch.distributed.tensor"])
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder)
        ranks = [
            context.Process(
                target=_rank, args=(index, count, function, shared, seconds), daemon=True
            )
            for index in range(count)
        ]
        for rank in ranks:
            rank.start()
        try:
            _wait(ranks, seconds)
            return [torch.load(_result(shared, n), weights_only=False) for n in range(count)]
        finally:
            for rank in ranks:
                rank.kill()
                rank.join()


def _wait(ranks: list[Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for index, rank in enumerate(ranks):
        rank.join(max(0, deadline - time.monotonic()))
        assert rank.exitcode is not None, f"rank {index} did not end within {seconds} s"
    failed = [index for index, rank in enumerate(ranks) if rank.exitcode]
    assert not failed, f"ranks {failed} raised, see the captured output"


def _result(folder: Path, index: int) -> Path:
    return folder / f"rank{index}.pt"


def _rank(
    index: int, count: int, function: Callable[[Path], Any], folder: Path, seconds: float
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=index,
        world_size=count,
        timeout=timedelta(seconds=seconds),
    )
    try:
        torch.save(function(folder), _result(folder, index))
    except BaseException:  # noqa: BLE001 - the parent shows that this process failed
        traceback.print_exc()
        raise SystemExit(1) from None
