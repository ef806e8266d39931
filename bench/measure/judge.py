"""What a worker is asked to do: judge one variant of a Case, or time several of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from lossbench import impls
from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.machine.guards import generators_untouched
from lossbench.bench.measure.agreement import Agreement, measure_agreement, workload_of
from lossbench.bench.measure.compilation import (
    Compilation,
    WarmCompilation,
    measure_compilation,
    measure_warm_compilation,
)
from lossbench.bench.measure.conformance import Conformance, measure_conformance
from lossbench.bench.measure.counters import Counters, measure_counters
from lossbench.bench.measure.memory import Memory, measure_memory
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling, interleave


@dataclass(frozen=True)
class Judgement:
    """What is known of a variant before it is timed.

    Attributes:
        agreement: a quantity each.
        memory: of a step, where it agrees.
        counters: of a step, where it agrees.
        compilation: what compiling it cost, where it is compiled.
        conformance: what it does with degenerate inputs; empty where it is compiled, since each of
            their shapes would be.
    """

    agreement: tuple[Agreement, ...]
    memory: Memory | None
    counters: Counters | None
    compilation: Compilation | None
    conformance: tuple[Conformance, ...]


@dataclass(frozen=True)
class Times:
    """The times of a variant.

    Attributes:
        forward: of a forward with its graph.
        step: of forward and backward, to every input and parameter.
        warm_compilation: what compiling it cost the process, where it is compiled.
    """

    forward: Timing
    step: Timing
    warm_compilation: WarmCompilation | None = None

    @classmethod
    def joined(cls, processes: Sequence["Times"]) -> Self:
        """Return the times that several processes took; the compilation is the last one's."""
        return cls(
            Timing.joined(times.forward for times in processes),
            Timing.joined(times.step for times in processes),
            processes[-1].warm_compilation,
        )


REFERENCE = "reference"


def judge(case: Case, variant: str) -> Judgement:
    """Hold a variant against the oracle, and weigh it where it agrees."""
    implementation = impls.implementation(case.loss, variant)
    compilation = measure_compilation(case, implementation) if implementation.mode else None
    agreement = measure_agreement(case, implementation)
    agreed = all(part.passed for part in agreement)
    memory = measure_memory(case, implementation) if agreed else None
    counters = measure_counters(case, implementation) if agreed else None
    conformance = (
        () if implementation.mode else measure_conformance(case.loss, variant, case.device)
    )
    return Judgement(agreement, memory, counters, compilation, conformance)


def measure_times(case: Case, variants: tuple[str, ...], sampling: Sampling) -> dict[str, Times]:
    """Return the times of variants of a Case, interleaved, forward and step alike."""
    # Code made for other cases would count towards the recompilations that torch puts up with.
    torch.compiler.reset()
    workload = workload_of(case)
    entries = {variant: impls.implementation(case.loss, variant) for variant in variants}
    modules = {variant: workload.module(entry) for variant, entry in entries.items()}
    compilations = {
        variant: measure_warm_compilation(workload, module)
        for variant, module in modules.items()
        if entries[variant].mode
    }
    forward, step = sample_modules(workload, modules, sampling)
    return {name: Times(forward[name], step[name], compilations.get(name)) for name in modules}


def sample_modules(
    workload: Workload, modules: Mapping[str, nn.Module], sampling: Sampling
) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Return the times of modules by name, interleaved: of the forward, and of the step."""
    inputs, device = workload.leaves(), workload.case.device
    calls = {name: prepare_calls(workload, module, inputs) for name, module in modules.items()}
    resets = {name: call.reset for name, call in calls.items()}
    forwards = {name: call.forward for name, call in calls.items()}
    steps = {name: call.step for name, call in calls.items()}
    with generators_untouched():
        forward = interleave(forwards, REFERENCE, sampling, resets, device)
        step = interleave(steps, REFERENCE, sampling, resets, device)
    return forward, step
