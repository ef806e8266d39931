"""What every test module shares."""

import pytest
import torch

from lossbench import impls
from lossbench.bench.cli import main
from lossbench.bench.measure.agreement import expectations, workload_of

# Minutes, and of use only with benchmarks enabled: `pytest tests/perf --benchmark-enable`.
collect_ignore = ["perf"]

pytest_plugins = [f"tests.makers.{name}" for name in ("browser", "forked", "registries", "reports")]


# Tensors of tests are small, and a second thread waits for more than it computes. Here, since the
# plugins are imported next, and with them records of this process's environment.
torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _fresh_caches():
    """Workloads are cached by Case; a test module must not see another's."""
    yield
    for cached in (workload_of, expectations):
        cached.cache_clear()


@pytest.fixture
def refused(capsys):
    """Give what a command says, in one line, of what it cannot do."""

    def ask(*arguments: str) -> str:
        assert main(arguments) == 2
        out, errors = capsys.readouterr()
        (line,) = errors.splitlines()
        assert line.startswith("error: ")
        assert out == ""
        return line

    return ask


def supported(device: str = "cpu") -> list[impls.Implementation]:
    """Return every implementation that runs here in float32, so that a new one is tested too.

    Compiled ones are left to test_compiled.py, since each takes some seconds.
    """
    return [
        implementation
        for loss in impls.losses()
        for implementation in impls.implementations(loss.name)
        if not implementation.mode and implementation.unsupported(device, torch.float32) is None
    ]


def name_of(implementation: impls.Implementation) -> str:
    return f"{implementation.loss.name}-{implementation.variant}"
