"""The step of every variant of every loss, timed by pytest-benchmark."""

import math
from typing import Any

import pytest
import torch
import torch.utils.benchmark

from lossbench import impls
from lossbench.bench.case.calls import Calls, prepare_calls
from lossbench.bench.case.feed import Feed
from lossbench.bench.frame.pytest_benchmark import extra_info
from lossbench.bench.measure.agreement import workload_of
from lossbench.bench.run.records import Record

# Its clock waits for the device.
pytestmark = pytest.mark.benchmark(timer=torch.utils.benchmark.timer)

WARM_UP_ROUNDS = 2


def test_step(benchmark: Any, record: Record, pytestconfig: pytest.Config) -> None:
    if record.status in ("unsupported", "departs", "refused"):
        pytest.skip(f"{record.status}: {record.reason}")
    if record.step is None:
        pytest.fail(f"{record.status}: {record.reason}")
    calls = ready(record)
    wanted = float(pytestconfig.getoption("benchmark_max_time"))
    rounds = math.ceil(wanted / record.step.median_seconds)
    benchmark.group = f"{record.case.loss} {record.case}"
    benchmark.extra_info.update(extra_info(record))
    # As in the harness's own clock, every call has other inputs and another state.
    benchmark.pedantic(
        calls.step,
        setup=calls.prepare,
        rounds=max(rounds, pytestconfig.getoption("benchmark_min_rounds")),
        warmup_rounds=WARM_UP_ROUNDS,
    )


def ready(record: Record) -> Calls:
    """Return the calls of a variant, compiled where it is to be."""
    # Code made for other cases would count towards the recompilations that torch puts up with.
    torch.compiler.reset()
    workload = workload_of(record.case)
    module = workload.module(impls.implementation(record.case.loss, record.variant))
    return prepare_calls(module, Feed(workload))
