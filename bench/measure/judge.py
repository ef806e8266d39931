"""Check whether an implementation may be timed in a Case, and time several implementations.

The run, the gate, asv and ``count`` all call ``judge``.
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
    """The measurements of an implementation in a Case before it is timed.

    Attributes:
        status: ``passed`` or ``refused`` after the comparison with the reference; ``departs`` if
            it is declared not equal to the loss; ``unsupported`` if it cannot run here.
        reason: cause of any status except ``passed``, in one line.
        agreement: errors against the float64 reference, one entry per quantity.
        memory: bytes of a step; ``None`` if it was refused or cannot run.
        counters: counts of the operators of a step; ``None`` if ``memory`` is ``None``.
        compilation: cost of compiling, if it is compiled and this was asked for.
        conformance: behaviour with degenerate inputs, if this was asked for; empty if it is
            compiled, since each of their shapes would be compiled again.
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
        forward: times of a forward that keeps its graph.
        step: times of forward and backward, to every input and parameter.
        warm_compilation: cost of compiling in this process; ``None`` if it is not compiled.
    """

    forward: Timing
    step: Timing
    warm_compilation: WarmCompilation | None = None

    @classmethod
    def joined(cls, processes: Sequence["Times"]) -> Self:
        """Return the times of several processes together, with the compilation of the last one."""
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
    """Compare an implementation with the float64 reference; count its bytes unless it is refused.

    Args:
        case: case to check it in.
        implementation: implementation to check, of this tree or of another.
        reference: reference class to compare with; by default the registry's.
        compare: whether to compare; if not, everything passes that runs and does not depart.
    """
    unsupported = implementation.unsupported(case.device, case.held_dtype)
    if unsupported is not None:
        return Judgement("unsupported", unsupported)
    # Memory comes first: what a process keeps is allocated in its first steps.
    memory = measure_memory(case, implementation)
    agreement = measure_agreement(case, implementation, reference) if compare else ()
    # asv and the gate also measure the first commits, which had no attribute ``departs``.
    departs = getattr(implementation, "departs", "")
    wrong = "; ".join(str(part) for part in agreement if not part.passed)
    if wrong and not departs:
        return Judgement("refused", wrong, agreement)
    return Judgement(
        "departs" if departs else "passed",
        departs,
        agreement,
        memory,
        measure_counters(case, implementation),
    )


def judge_variant(case: Case, variant: str) -> Judgement:
    """Check a registered variant, with its cost of compiling or its conformance."""
    implementation = impls.implementation(case.loss, variant)
    if implementation.unsupported(case.device, case.held_dtype):
        return judge(case, implementation)
    if implementation.compiled:
        # Any step would compile the module, so the cost of compiling is measured first.
        compilation = measure_compilation(case, implementation)
        return replace(judge(case, implementation), compilation=compilation)
    judgement = judge(case, implementation)
    return replace(judgement, conformance=measure_conformance(case.loss, variant, case.device))


def measure_times(case: Case, variants: tuple[str, ...], sampling: Sampling) -> dict[str, Times]:
    """Return the times of variants of a Case, interleaved, of both forward and step."""
    # torch limits recompilations, and code that was compiled for other cases would count.
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
    """Return the interleaved times of modules by name: first of the forward, then of the step."""
    inputs, device = workload.leaves(), workload.case.device
    calls = {name: prepare_calls(workload, module, inputs) for name, module in modules.items()}
    resets = {name: call.reset for name, call in calls.items()}
    forwards = {name: call.forward for name, call in calls.items()}
    steps = {name: call.step for name, call in calls.items()}
    with generators_untouched():
        forward = interleave(forwards, REFERENCE, sampling, resets, device)
        step = interleave(steps, REFERENCE, sampling, resets, device)
    return forward, step
