"""torch's notice that there is a CUDA compiler but no GPU is left out, and nothing else."""

import logging
import os
import subprocess
import sys

import pytest
import torch

import lossbench.bench  # noqa: F401 - it leaves the notice out
from lossbench.bench.quiet import LOGGER, NOTICE

# A CPU build of torch does not look for a CUDA compiler.
AS_CUDA_BUILD = """
import torch
torch.version.cuda = "13.0"
torch.cuda._is_compiled, torch.cuda.is_available = lambda: True, lambda: False
"""
OURS = "import lossbench.bench\n"
LOOK = "import torch.utils.cpp_extension\n"
IN_A_WORKER = """
from lossbench.bench.machine.compiler import import_inductor
from lossbench.bench.machine.worker import Worker
if __name__ == "__main__":
    worker = Worker(1)
    worker.ask(120, import_inductor)
    worker.close()
    import_inductor()
"""


@pytest.fixture
def errors(tmp_path):
    def run(*source):
        script = tmp_path / "script.py"
        script.write_text("".join(source))
        # torch takes this folder for that of a CUDA compiler.
        environment = {**os.environ, "CUDA_HOME": str(tmp_path), "PYTHONPATH": os.getcwd()}
        command = [sys.executable, str(script)]
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=True
        )
        return ran.stderr

    return run


def test_only_the_notice_is_left_out():
    words = (f"{NOTICE}, using CUDA_HOME='/usr/local'", "another warning")
    records = [logging.LogRecord(LOGGER, 30, "", 0, text, (), None) for text in words]
    logger = logging.getLogger(LOGGER)
    assert [bool(logger.filter(each)) for each in records] == [False, True]


def test_a_cuda_compiler_without_a_gpu_is_no_news(errors):
    assert NOTICE in errors(AS_CUDA_BUILD, LOOK)
    assert errors(AS_CUDA_BUILD, OURS, LOOK) == ""


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="a CPU build gives no notice")
def test_a_cuda_build_without_a_gpu_prints_nothing_in_a_worker(errors):
    assert errors(IN_A_WORKER) == ""
