"""Check whether an implementation may be timed in a Case, and time several implementations.

The run, the gate, asv and ``count`` all call ``judge``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import torch
from torch import nn

from lossbench import impls
from lossbench.bench.case.cases import Case
from lossbench.bench.case.workload import Workload
from lossbench.bench.measure.agreement import (
    Agreement,
    Reference,
    measure_agreement,
    reference_of,
    workload_of,
)
from lossbench.bench.measure.conformance import Conformance, measure_conformance
from lossbench.bench.measure.counters import Counters, measure_counters
from lossbench.bench.measure.graphed import sample_graphs
from lossbench.bench.measure.kernels import (
    Configurations,
    chosen_configurations,
    measure_kernels,
)
from lossbench.bench.measure.memory import Memory, measure_memory
from lossbench.bench.measure.overwriting import is_overwritten
from lossbench.bench.measure.trial import sample_modules
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    # Older commits have no such modules.
    from lossbench.bench.ranks.traffic import Traffic
    from lossbench.impls.triton.usage import CompiledKernel

Standing = Literal["passed", "refused", "departs", "unsupported"]


@dataclass(frozen=True)
class Judgement:
    """The measurements of an implementation in a Case before it is timed.

    Attributes:
        status: ``passed`` or ``refused`` after the comparison with the reference; ``departs`` if
            it is declared not equal to the loss; ``unsupported`` if it cannot run here.
        reason: cause of any status except ``passed``, in one line.
        agreement: errors against the float64 reference, one entry per quantity.
        oracle: variant that was compared with in float64: the reference, or where that does not
            fit into memory, one that is computed in tiles.
        memory: bytes of a step; ``None`` if it was refused or cannot run.
        counters: counts of the operators of a step; ``None`` if ``memory`` is ``None``.
        conformance: behaviour with degenerate inputs, if this was asked for; empty if it is
            compiled, since each of their shapes would be compiled again.
        kernels: counts of the kernels of a Triton variant, if this was asked for.
        traffic: collectives of a step, if several ranks compute it.
    """

    status: Standing
    reason: str = ""
    agreement: tuple[Agreement, ...] = ()
    memory: Memory | None = None
    counters: Counters | None = None
    conformance: tuple[Conformance, ...] = ()
    kernels: tuple["CompiledKernel", ...] = ()
    traffic: "Traffic | None" = None
    oracle: str = REFERENCE


@dataclass(frozen=True)
class Times:
    """The times of a variant.

    Attributes:
        forward: times of a forward that keeps its graph.
        step: times of forward and backward, to every input and parameter.
        configurations: configurations that tuning chose for a step's kernels, one entry per
            process; empty for variants without such kernels.
        graphed: times of a step that is replayed as a CUDA graph, if this was asked for and it can.
        ungraphed: reason why there are no such times, although they were asked for.
    """

    forward: Timing
    step: Timing
    configurations: tuple[Configurations, ...] = ()
    graphed: Timing | None = None
    ungraphed: str = ""

    @classmethod
    def joined(cls, processes: Sequence["Times"]) -> Self:
        """Return the times of several processes together."""
        graphed = [times.graphed for times in processes if times.graphed]
        return cls(
            Timing.joined(times.forward for times in processes),
            Timing.joined(times.step for times in processes),
            tuple(each for times in processes for each in times.configurations),
            Timing.joined(graphed) if len(graphed) == len(processes) else None,
            next((times.ungraphed for times in processes if times.ungraphed), ""),
        )


@dataclass(frozen=True)
class RefusedTimes:
    """The refusal of a variant that gave wrong results when it was timed.

    Attributes:
        reason: cause of the refusal, in one line.
    """

    reason: str


def joined(processes: Sequence[Times | RefusedTimes]) -> Times | RefusedTimes:
    """Return the times of several processes together, or the first refusal."""
    refusals = [times for times in processes if isinstance(times, RefusedTimes)]
    if refusals:
        return refusals[0]
    return Times.joined([times for times in processes if isinstance(times, Times)])


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
    oracle = reference_of(case, reference).variant
    # asv and the gate also measure the first commits, which had no attribute ``departs``.
    departs = getattr(implementation, "departs", "")
    wrong = "; ".join(str(part) for part in agreement if not part.passed)
    if wrong and not departs:
        return Judgement("refused", wrong, agreement, oracle=oracle)
    return Judgement(
        "departs" if departs else "passed",
        departs,
        agreement,
        memory,
        measure_counters(case, implementation),
        oracle=oracle,
    )


def judge_variant(case: Case, variant: str) -> Judgement:
    """Check a registered variant, with its kernels, and its conformance unless it is compiled."""
    implementation = impls.implementation(case.loss, variant)
    if implementation.unsupported(case.device, case.held_dtype):
        return judge_with_kernels(case, implementation)
    if implementation.compiled:
        # torch limits recompilations, and code that was compiled for other cases would count.
        torch.compiler.reset()
        return judge(case, implementation)
    judgement = judge_with_kernels(case, implementation)
    return replace(judgement, conformance=measure_conformance(case.loss, variant, case.device))


def judge_with_kernels(case: Case, implementation: impls.Implementation) -> Judgement:
    """Check an implementation, and count its kernels even if it cannot run here."""
    judgement = judge(case, implementation)
    return replace(judgement, kernels=measure_kernels(case, implementation))


def measure_times(
    case: Case,
    variants: tuple[str, ...],
    sampling: Sampling,
    *,
    validate: bool = True,
    graphs: bool = False,
) -> dict[str, Times | RefusedTimes]:
    """Return the times of variants of a Case, interleaved, of both forward and step.

    A variant that gave wrong results when it was timed is refused; the others keep their times.

    Args:
        case: case to time the variants in.
        variants: names of the variants, the reference among them if the others are compared.
        sampling: sampling of each phase.
        validate: whether the modules check their inputs, as they do by default.
        graphs: whether to time steps that are replayed as CUDA graphs too.
    """
    # torch limits recompilations, and code that was compiled for other cases would count.
    torch.compiler.reset()
    workload = workload_of(case)
    entries = {variant: impls.implementation(case.loss, variant) for variant in variants}
    modules = {name: workload.module(entry, validate=validate) for name, entry in entries.items()}
    overwritten = [n for n, e in entries.items() if is_overwritten(e, case.device)]
    sampled = sample_modules(workload, modules, sampling, overwritten=overwritten)
    found: dict[str, Times | RefusedTimes] = {
        name: RefusedTimes(reason)
        if (reason := sampled.refusals.get(name))
        else Times(
            forward,
            sampled.timings["step"][name],
            _configurations(workload, entries[name], modules[name]),
        )
        for name, forward in sampled.timings["forward"].items()
    }
    if graphs:
        # Their memory is for those that are built anew.
        modules.clear()
        found |= _with_graphs(workload, entries, found, sampling, validate=validate)
    return found


def _with_graphs(
    workload: Workload,
    entries: Mapping[str, impls.Implementation],
    found: Mapping[str, Times | RefusedTimes],
    sampling: Sampling,
    *,
    validate: bool,
) -> dict[str, Times | RefusedTimes]:
    """Return the times with those of replayed steps, of the variants that can be replayed."""
    timed = {name: times for name, times in found.items() if isinstance(times, Times)}
    own = {name for name in timed if is_overwritten(entries[name], workload.case.device)}
    modules = {
        name: workload.module(entries[name], validate=validate) for name in timed if name not in own
    }
    sampled = sample_graphs(workload, modules, sampling)
    reasons = {**dict.fromkeys(own, "it replays CUDA graphs itself"), **sampled.refusals}
    return {
        name: replace(
            times,
            graphed=None if name in reasons else sampled.timings["step"].get(name),
            ungraphed=reasons.get(name, ""),
        )
        for name, times in timed.items()
    }


def _configurations(
    workload: Workload, implementation: impls.Implementation, module: nn.Module
) -> tuple[Configurations, ...]:
    found = chosen_configurations(implementation, lambda: workload.step(module))
    return (found,) if found else ()
