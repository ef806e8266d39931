"""Run steps of an implementation under torch's profiler: write a trace, and list its operators."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import trainable
from lossbench.bench.machine.profiler import new_profiler
from lossbench.bench.measure.agreement import workload_of

FORWARD, BACKWARD = "forward", "backward"
# TensorBoard's plugin reads files with this suffix as traces, and the name before it as a worker.
SUFFIX = ".pt.trace.json"
# The first step compiles the code; from the second on, a step runs as all later ones do.
WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Operator:
    """The profiler's figures of one name, added up over all profiled steps.

    Attributes:
        name: name of an operator, of an autograd node, or of a mark such as ``forward``.
        calls: number of calls.
        self_seconds: CPU time, without the calls inside it.
        total_seconds: CPU time, with the calls inside it.
        device_seconds: time of the kernels that it started itself; 0 on the CPU.
        self_bytes: bytes taken minus bytes released on the Case's device, without the calls inside
            it.
    """

    name: str
    calls: int
    self_seconds: float
    total_seconds: float
    device_seconds: float
    self_bytes: int


def trace_path(folder: Path, variant: str) -> Path:
    """Return the path of the trace of a variant in the folder of a Case."""
    return folder / f"{variant}{SUFFIX}"


def record_steps(case: Case, variant: str, steps: int, folder: Path) -> tuple[Operator, ...]:
    """Warm up, write the trace of some steps, and return their operators.

    The state of the module is not reset between the steps, as in training.
    """
    implementation = impls.implementation(case.loss, variant)
    if implementation.compiled:
        # Code compiled for other cases would count towards torch's limit of recompilations.
        torch.compiler.reset()
    step = _marked_step(case, implementation)
    for _ in range(WARM_UP_STEPS):
        step()
    # The profiler is slow in its first step, and must have seen the buffers that the next releases.
    profile_steps(step, 1, case.device)
    profiler = profile_steps(step, steps, case.device)
    profiler.export_chrome_trace(str(trace_path(folder, variant)))
    return operators_of(profiler, case.device)


def profile_steps(step: Callable[[], object], steps: int, device: str) -> profile:
    """Return a profiler that has recorded some calls of a step.

    Args:
        step: the function to profile.
        steps: number of calls.
        device: ``cpu`` or ``cuda``.
    """
    profiler = new_profiler(
        *[ProfilerActivity.CUDA] * (device == "cuda"),
        schedule=schedule(wait=0, warmup=1, active=steps, repeat=1),
        record_shapes=True,
        profile_memory=True,
    )
    # Garbage of earlier calls would count as released by these, so it is not collected meanwhile.
    collecting = gc.isenabled()
    gc.disable()
    try:
        with profiler:
            # The profiler does not see the buffers taken in its own warm-up, nor their release in
            # the next step. So its warm-up gets no call.
            profiler.step()
            for _ in range(steps):
                step()
                profiler.step()
    finally:
        if collecting:
            gc.enable()
    return profiler


def operators_of(profiler: profile, device: str) -> tuple[Operator, ...]:
    """Return the operators of a profiler, the one with the most time of its own first."""
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
            # Kernels run asynchronously; without waiting, they would end in a later step.
            torch.cuda.synchronize()

    return step
