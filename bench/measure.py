"""What a worker is asked to do: judge one variant of a Case, or time several of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import impls
from bench.agreement import Agreement, measure_agreement, oracle, workload_of
from bench.cases import Case
from bench.compilation import Compilation, measure_compilation
from bench.conformance import Conformance, measure_conformance
from bench.memory import Memory, measure_memory
from bench.timing import Sampling, Timing, interleave
from bench.workload import Workload, trainable


@dataclass(frozen=True)
class Judgement:
    """What is known of a variant before it is timed.

    Attributes:
        agreement: a quantity each.
        memory: of a step, where it agrees.
        compilation: what compiling it cost, where it is compiled.
        conformance: what it does with degenerate inputs; empty where it is compiled, since each of
            their shapes would be.
    """

    agreement: tuple[Agreement, ...]
    memory: Memory | None
    compilation: Compilation | None
    conformance: tuple[Conformance, ...]


@dataclass(frozen=True)
class Times:
    """The times of a variant, by phase."""

    forward: Timing
    step: Timing


def judge(case: Case, variant: str) -> Judgement:
    """Hold a variant against the oracle, and weigh it where it agrees."""
    implementation = impls.implementation(case.loss, variant)
    compilation = measure_compilation(case, implementation) if implementation.mode else None
    agreement = measure_agreement(case, implementation)
    agreed = all(part.passed for part in agreement)
    memory = measure_memory(case, implementation) if agreed else None
    conformance = (
        () if implementation.mode else measure_conformance(case.loss, variant, case.device)
    )
    return Judgement(agreement, memory, compilation, conformance)


def time_variants(case: Case, variants: tuple[str, ...], sampling: Sampling) -> dict[str, Times]:
    """Time the variants of a Case against the reference, interleaved, forward and step alike."""
    # Code made for other cases would count towards the recompilations that torch puts up with.
    torch.compiler.reset()
    workload = workload_of(case)
    modules = {
        variant: workload.module(impls.implementation(case.loss, variant)) for variant in variants
    }
    moving = _moving_state(case, workload)
    resets = {name: _reset(module, workload, moving) for name, module in modules.items()}
    # One copy for all, so that none has the luck of a better place in memory.
    inputs = workload.leaves()
    forwards = {name: _forward(module, inputs) for name, module in modules.items()}
    steps = {name: _step(module, workload, inputs) for name, module in modules.items()}
    forward = interleave(forwards, "reference", sampling, resets)
    step = interleave(steps, "reference", sampling, resets)
    return {name: Times(forward[name], step[name]) for name in modules}


def _forward(module: nn.Module, inputs: Mapping[str, Tensor]) -> Callable[[], object]:
    return lambda: module(**inputs)


def _step(
    module: nn.Module, workload: Workload, inputs: Mapping[str, Tensor]
) -> Callable[[], object]:
    targets = list(trainable(module, inputs).values())
    return lambda: workload.gradients(module(**inputs), targets)


def _moving_state(case: Case, workload: Workload) -> list[str]:
    """Return the names of the parameters and buffers that a step of the reference changes."""
    before, after = workload.exact().state, oracle(case)[0]
    return [name for name in before if not torch.equal(before[name], after[f"after.{name}"])]


def _reset(module: nn.Module, workload: Workload, names: list[str]) -> Callable[[], None]:
    @torch.no_grad()
    def reset() -> None:
        # Looked up at each call, since a module may rebind what it changes.
        for name in names:
            module.state_dict()[name].copy_(workload.state[name])

    return reset
