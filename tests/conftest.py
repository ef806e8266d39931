"""What every test module shares."""

import pytest
import torch

import impls
from bench.agreement import oracle, reference_errors, workload_of

# Minutes, and of use only with benchmarks enabled: `pytest tests/perf --benchmark-enable`.
collect_ignore = ["perf"]

pytest_plugins = ["tests.browser"]


def pytest_configure() -> None:
    torch.set_num_threads(2)


@pytest.fixture(scope="module", autouse=True)
def _fresh_caches():
    """Workloads are cached by Case; a test module must not see another's."""
    yield
    for cached in (workload_of, oracle, reference_errors):
        cached.cache_clear()


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
