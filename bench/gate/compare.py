"""What a worker is asked: what a tree has, a variant of it judged, and two trees' timed in turn."""

from dataclasses import dataclass

import torch

from lossbench.bench.case.calls import prepare_calls
from lossbench.bench.case.cases import Case
from lossbench.bench.gate.trees import Tree
from lossbench.bench.measure.agreement import workload_of
from lossbench.bench.measure.counters import Counters
from lossbench.bench.measure.judge import judge
from lossbench.bench.measure.memory import Memory
from lossbench.bench.run.records import Status
from lossbench.bench.timing.samples import Timing
from lossbench.bench.timing.sampling import Sampling, interleave

BASE, HEAD = "base", "head"
PHASES = ("forward", "step")


@dataclass(frozen=True)
class Seen:
    """What is known of a variant in one tree before it is timed.

    Attributes:
        status: as a Record's; ``passed`` also where agreement was not asked for.
        reason: of any other status, in a line.
        memory: the bytes of a step, unless it was refused or cannot run.
        counters: what a step dispatches, where ``memory`` is known.
    """

    status: Status
    reason: str = ""
    memory: Memory | None = None
    counters: Counters | None = None


def list_variants(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Return the variants of every Loss of a tree.

    Raises:
        UsageError: where it cannot be imported.
    """
    package = tree.load()
    return {
        loss.name: tuple(entry.variant for entry in package.implementations(loss.name))
        for loss in package.losses()
    }


def see(tree: Tree, case: Case, variant: str, *, judged: bool) -> Seen:
    """Judge a variant of a tree against that tree's own reference in float64, and weigh it.

    Args:
        tree: the source tree that holds the variant.
        case: what is asked.
        variant: the name of the variant.
        judged: whether to compare it with the reference; without, it is only weighed.
    """
    package = tree.load()
    implementation = package.implementation(case.loss, variant)
    reference = package.loss(case.loss).reference
    found = judge(case, implementation, reference, compare=judged)
    return Seen(found.status, found.reason, found.memory, found.counters)


def sample_trees(
    trees: tuple[Tree, Tree],
    case: Case,
    variant: str,
    phases: tuple[str, ...],
    sampling: Sampling,
) -> dict[str, Timing]:
    """Return the head's times of a variant beside the base's of the same rounds, a phase each.

    Both compute on the same leaves, and from the same state.

    Args:
        trees: named ``base`` and ``head``, in the order in which their modules are made: whatever
            is made later has another place in memory.
        case: what is asked.
        variant: which.
        phases: ``forward``, ``step`` or both.
        sampling: of each phase.
    """
    torch.compiler.reset()
    workload = workload_of(case)
    inputs = workload.leaves()
    calls = {
        tree.name: prepare_calls(
            workload, workload.module(tree.load().implementation(case.loss, variant)), inputs
        )
        for tree in trees
    }
    resets = {name: call.reset for name, call in calls.items()}
    found = {}
    for phase in phases:
        timed = {name: getattr(call, phase) for name, call in calls.items()}
        found[phase] = interleave(timed, BASE, sampling, resets, case.device)[HEAD]
    return found
