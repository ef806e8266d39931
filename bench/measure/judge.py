"""The one judge of an implementation in a Case, and the times of several in turn.

The run, the gate, asv and ``count`` ask ``judge`` whether an implementation may be timed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import nn

from lossbench import impls
from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.machine.guards import generators_untouched
from lossbench.bench.measure.agreement import Agreement, Reference, measure_agreement, workload_of
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
from lossbench.impls.registry import REFERENCE

Standing = Literal["passed", "refused", "departs", "unsupported"]


@dataclass(frozen=True)
class Judgement:
    """What is known of an implementation in a Case before it is timed.

    Attributes:
        status: ``passed`` the comparison with the reference, or was ``refused`` by it; ``departs``
            where it is declared not equal to the loss; ``unsupported`` where it cannot run here.
        reason: the cause of any status but ``passed``, in a line.
        agreement: the errors against the float64 reference, a quantity each.
        memory: the bytes of a step; ``None`` where it was refused or cannot run.
        counters: what a step dispatches; ``None`` where ``memory`` is.
        compilation: the cost of compiling it, where it is compiled and this was asked for.
        conformance: what it does with degenerate inputs, where this was asked for; empty where it
            is compiled, since each of their shapes would be compiled anew.
    """

    status: Standing
    reason: str = ""
    agreement: tuple[Agreement, ...] = ()
    memory: Memory | None = None
    counters: Counters | None = None
    compilation: Compilation | None = None
    conformance: tuple[Conformance, ...] = ()


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


def judge(
    case: Case,
    implementation: impls.Implementation,
    reference: Reference = None,
    *,
    compare: bool = True,
) -> Judgement:
    """Compare an implementation with the float64 reference, and weigh it unless it is refused.

    Args:
        case: what is asked.
        implementation: the implementation, of this tree or of another.
        reference: the reference class to compare with; by default that of the registry.
        compare: whether to compare at all; without, whatever runs and does not depart passes.
    """
    unsupported = implementation.unsupported(case.device, case.held_dtype)
    if unsupported is not None:
        return Judgement("unsupported", unsupported)
    agreement = measure_agreement(case, implementation, reference) if compare else ()
    # The first commits, which asv and the gate measure too, knew of no departures.
    departs = getattr(implementation, "departs", "")
    wrong = "; ".join(str(part) for part in agreement if not part.passed)
    if wrong and not departs:
        return Judgement("refused", wrong, agreement)
    return Judgement(
        "departs" if departs else "passed",
        departs,
        agreement,
        measure_memory(case, implementation),
        measure_counters(case, implementation),
    )


def judge_variant(case: Case, variant: str) -> Judgement:
    """Judge a registered variant, and find what compiling costs it and how it treats bad inputs."""
    implementation = impls.implementation(case.loss, variant)
    if implementation.unsupported(case.device, case.held_dtype):
        return judge(case, implementation)
    if implementation.compiled:
        # First, since whatever ran before would have compiled it.
        compilation = measure_compilation(case, implementation)
        return replace(judge(case, implementation), compilation=compilation)
    judgement = judge(case, implementation)
    return replace(judgement, conformance=measure_conformance(case.loss, variant, case.device))


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
        if entries[variant].compiled
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
