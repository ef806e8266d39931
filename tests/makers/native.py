"""Checks that every family of native operators passes."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, settings

from lossbench.bench.paths import ROOT
from lossbench.impls.native import build

quiet = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    # An emulated processor draws slowly.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def strided(tensor, how):
    """Return equal numbers in another layout."""
    if how == "transposed":
        return tensor.t().contiguous().t()
    if how == "sliced":
        return torch.stack([tensor, tensor + 1], dim=-1)[..., 0]
    if how == "shifted":
        return torch.cat([tensor[:, :1], tensor], dim=1)[:, 1:]
    return tensor


def pass_opcheck(samples):
    """Run torch's own checks of operators on pairs of an operator's name and its arguments."""
    for name, arguments in samples:
        operator = getattr(torch.ops.lossbench_native, name).default
        # No operator has a derivative of its own: the Functions around them have.
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


def run_for_target(target, code):
    """Run code in a process whose native operators take the kernels of a kind of processor."""
    if target not in build.targets():
        pytest.skip("another architecture")
    environment = {**os.environ, "LOSSBENCH_NATIVE_TARGET": target}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, timeout=300)


def is_equal_by_threads(compute):
    """Assert that a function returns the same tensors, to the bit, with 1, 2 and 4 threads."""
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            results.append(compute())
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def is_close(found, exact, rtol):
    """Assert that tensors differ from the exact ones by a share of the largest element at most."""
    for a, b in zip(found, exact, strict=True):
        scale = float(b.abs().max()) + 1e-30
        assert float((a - b).abs().max()) <= rtol * scale
