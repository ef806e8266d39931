"""Every implementation under DistributedDataParallel and fully_shard, on two processes."""

import pytest

from lossbench.bench.training_loop.asking import loop_workers
from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
from tests.makers.training import EVERY


@pytest.fixture(scope="module")
def workers():
    """Give the two processes."""
    with loop_workers() as asked:
        yield asked


@EVERY
@pytest.mark.parametrize("name", ["DDP", "FSDP2", "DDP, FSDP2, checkpoint"])
def test_two_processes_train_as_one_or_refuse_as_documented(workers, trainee, name):
    found = workers.ask(trainee, LOOP_SITUATIONS[name])
    assert found.fitness != "worse", found.reason
