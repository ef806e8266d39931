"""Steps of an implementation under torch's profiler: a trace on the disk, and its operators."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import trainable
from lossbench.bench.measure.agreement import workload_of

FORWARD, BACKWARD = "forward", "backward"
# What TensorBoard's plugin takes for a trace, and the name before it for a worker.
SUFFIX = ".pt.trace.json"
# Compiled code meets its sizes in the first, and in the second is called as it will be.
WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Operator:
    """What the profiler adds up for one name over all profiled steps.

    Attributes:
        name: of an operator, of an autograd node, or of a mark such as ``forward``.
        calls: how often it ran.
        self_seconds: on the processor, less what ran inside it.
        total_seconds: on the processor, with what ran inside it.
        device_seconds: of the kernels that it started itself; 0 on the CPU.
        self_bytes: taken less released on the Case's device, less what ran inside it.
    """

    name: str
    calls: int
    self_seconds: float
    total_seconds: float
    device_seconds: float
    self_bytes: int


def trace_path(folder: Path, variant: str) -> Path:
    """Return where the trace of a variant lies in the folder of a Case."""
    return folder / f"{variant}{SUFFIX}"


def record_steps(case: Case, variant: str, steps: int, folder: Path) -> tuple[Operator, ...]:
    """Write the trace of some steps, warmed up before, and return their operators.

    The steps follow each other as in training: a state that each one changes goes on changing.
    """
    implementation = impls.implementation(case.loss, variant)
    if implementation.compiled:
        # Code made for other cases would count towards the recompilations that torch puts up with.
        torch.compiler.reset()
    step = _marked_step(case, implementation)
    for _ in range(WARM_UP_STEPS):
        step()
    # The profiler too is slow at first; and what this step leaves, the next may release.
    profile_steps(step, 1, case.device)
    profiler = profile_steps(step, steps, case.device)
    profiler.export_chrome_trace(str(trace_path(folder, variant)))
    return operators_of(profiler, case.device)


def profile_steps(step: Callable[[], object], steps: int, device: str) -> profile:
    """Return the profiler that saw so many calls."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    profiler = profile(
        activities=activities,
        schedule=schedule(wait=0, warmup=1, active=steps, repeat=1),
        record_shapes=True,
        profile_memory=True,
    )
    # Garbage of earlier calls that is collected meanwhile would count as released by these.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with profiler:
            # The warm-up that it wants is its own. A step in it would take buffers unseen, of
            # which the release by the next would be unseen as well.
            profiler.step()
            for _ in range(steps):
                step()
                profiler.step()
    finally:
        if collecting:
            gc.enable()
    return profiler


def operators_of(profiler: profile, device: str) -> tuple[Operator, ...]:
    """Return what a profiler adds up, the most time of their own first."""
    memory = "self_device_memory_usage" if device == "cuda" else "self_cpu_memory_usage"
    operators = [
        Operator(
            name=row.key,
            calls=row.count,
            self_seconds=row.self_cpu_time_total / 1e6,
            total_seconds=row.cpu_time_total / 1e6,
            device_seconds=row.self_device_time_total / 1e6,
            self_bytes=getattr(row, memory),
        )
        for row in profiler.key_averages()
    ]
    return tuple(sorted(operators, key=lambda row: row.self_seconds, reverse=True))


def _marked_step(case: Case, implementation: impls.Implementation) -> Callable[[], None]:
    workload = workload_of(case)
    module = workload.module(implementation)
    leaves = workload.leaves()
    targets = list(trainable(module, leaves).values())

    def step() -> None:
        with record_function(FORWARD):
            out = workload.outputs(module, leaves)
        with record_function(BACKWARD):
            workload.gradients(out, targets)
        if case.device == "cuda":
            # For the kernels of a step to stand within it.
            torch.cuda.synchronize()

    return step
