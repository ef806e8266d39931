"""The tasks of the gate's worker: list, check and count variants, and time two trees in turn."""

from dataclasses import dataclass

import torch

from lossbench.bench.case.cases import Case
from lossbench.bench.gate.trees import Tree
from lossbench.bench.measure.agreement import workload_of
from lossbench.bench.measure.counters import Counters
from lossbench.bench.measure.judge import judge
from lossbench.bench.measure.kernels import measure_kernels
from lossbench.bench.measure.memory import Memory
from lossbench.bench.measure.trial import WrongWhenTimed, sample_modules
from lossbench.bench.run.records import Status
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling
from lossbench.impls.registry import REFERENCE
from lossbench.impls.triton.usage import CompiledKernel

BASE, HEAD = "base", "head"
PHASES = ("forward", "step")


@dataclass(frozen=True)
class Seen:
    """The results of a variant in one tree before it is timed.

    Attributes:
        status: status with a Record's meaning; also ``passed`` if agreement was not checked.
        reason: reason for any other status, in one line.
        memory: bytes of a step; ``None`` if the variant was refused or cannot run.
        counters: operators and device waits of a step; ``None`` if ``memory`` is.
        kernels: counts of the kernels of a Triton variant.
    """

    status: Status
    reason: str = ""
    memory: Memory | None = None
    counters: Counters | None = None
    kernels: tuple[CompiledKernel, ...] = ()


def list_variants(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Return the variants of every Loss of a tree.

    Raises:
        UsageError: if the tree cannot be imported.
    """
    package = tree.load()
    return {
        loss.name: tuple(entry.variant for entry in package.implementations(loss.name))
        for loss in package.losses()
    }


def see(tree: Tree, case: Case, variant: str, *, judged: bool) -> Seen:
    """Check a variant against its own tree's reference in float64, and count its bytes.

    Args:
        tree: tree of the variant.
        case: case to check the variant in.
        variant: name of the variant.
        judged: whether to compare the variant with the reference; if not, its memory and operators
            are counted only.
    """
    package = tree.load()
    implementation = package.implementation(case.loss, variant)
    reference = package.loss(case.loss).reference
    found = judge(case, implementation, reference, compare=judged)
    return Seen(found.status, found.reason, found.memory, found.counters)


def count_kernels(tree: Tree, case: Case, variant: str) -> tuple[CompiledKernel, ...]:
    """Return the counts of a variant's kernels, compiled without a GPU.

    The operators of kernels are registered with torch once a process, so another tree's kernels
    need another process.
    """
    return measure_kernels(case, tree.load().implementation(case.loss, variant))


def sample_trees(
    trees: tuple[Tree, Tree],
    case: Case,
    variant: str,
    phases: tuple[str, ...],
    sampling: Sampling,
) -> dict[str, Timing]:
    """Return the times of a variant in the head, paired with those in the base, by phase.

    Both trees are timed in the same rounds, on the same leaves and from the same states; each is
    checked against its own reference while it is timed.

    Args:
        trees: trees named ``base`` and ``head``, in the order in which their modules are made; the
            order changes their places in memory.
        case: case to time the variant in.
        variant: name of the variant.
        phases: phases to time: ``forward``, ``step`` or both.
        sampling: sampling of each phase.

    Raises:
        WrongWhenTimed: if one of the trees gives wrong results when it is timed.
    """
    torch.compiler.reset()
    workload = workload_of(case)
    packages = {tree.name: tree.load() for tree in trees}
    modules = {
        name: workload.module(package.implementation(case.loss, variant))
        for name, package in packages.items()
    }
    references = {
        name: package.implementation(case.loss, REFERENCE) for name, package in packages.items()
    }
    sampled = sample_modules(
        workload, modules, sampling, baseline=BASE, phases=phases, references=references
    )
    for name, reason in sampled.refusals.items():
        raise WrongWhenTimed(f"{name}: {reason}")
    return {phase: sampled.timings[phase][HEAD] for phase in phases}
